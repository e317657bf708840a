"""The addresses of function URLs.

MiniStack names a function URL as AWS does, `https://ID.lambda-url.REGION.on.aws/`, which leads nowhere from here. It serves the same function
under a path of its own address.
"""


def local_address(function_url, endpoint):
    """The address at which MiniStack serves a function URL."""
    identifier = function_url.split("://", 1)[-1].split(".", 1)[0]
    return f"{endpoint}/_aws/lambda-url/{identifier}/"


def teach():
    """Lets stacks know the address on this machine."""
    import os

    from ministack.services.cloudformation import provisioners

    attributes = provisioners._lambda_url_attributes
    endpoint = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '4566')}"

    def local_attributes(config):
        known = attributes(config)
        return {**known, "FunctionUrl": local_address(known["FunctionUrl"], endpoint)}

    provisioners._lambda_url_attributes = local_attributes
