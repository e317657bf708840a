"""LocalStack as a plain process: Lambda functions and DynamoDB without Docker and Java.

Kept free of imports: `reaper` is started as a process of its own and must come up quickly.
"""
