"""S3's answer for an object that isn't there.

To a caller who may not list the bucket S3 answers 403 (AccessDenied) instead of 404 (NoSuchKey), so that the caller doesn't learn which keys
exist. MiniStack always answers 404. A permission with a condition on `s3:prefix` doesn't count, since reading an object has no prefix.
"""

READS = ("GET", "HEAD")


def bucket_of(path):
    """The bucket of a path-style request for an object; None for any other request."""
    bucket, _, key = path.lstrip("/").partition("/")
    return bucket if bucket and key else None


def teach():
    """Puts the answer into MiniStack."""
    from ministack.app import AUTH
    from ministack.core.iam_evaluator import enforce
    from ministack.core.router import extract_access_key_id
    from ministack.services import s3

    if not AUTH:
        return
    handle = s3.handle_request

    def may_list(bucket, headers, query_params):
        key = extract_access_key_id(headers, query_params)
        return enforce(key, "s3:ListBucket", "s3", "us-east-1", resource_arn=f"arn:aws:s3:::{bucket}") is None

    async def handle_like_s3(method, path, headers, body, query_params, *more, **named):
        answer = await handle(method, path, headers, body, query_params, *more, **named)
        reads = method in READS or "x-amz-copy-source" in headers
        source = headers.get("x-amz-copy-source", path)
        bucket = bucket_of(source) if reads and answer[0] == 404 else None
        # A bucket that isn't there is 404 in any case.
        if bucket is None or b"NoSuchBucket" in (answer[2] or b"") or may_list(bucket, headers, query_params):
            return answer
        return s3._error("AccessDenied", "Access Denied", 403, path)

    s3.handle_request = handle_like_s3
