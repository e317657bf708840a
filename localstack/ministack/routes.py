"""The check of a stage's route settings.

API Gateway refuses a stage of an HTTP API with settings for a route that the API doesn't have (yet). MiniStack takes any.
"""


def unknown_routes(settings, routes):
    """The keys of route settings for which there is no route."""
    known = {route["routeKey"] for route in routes}
    return sorted(key for key in settings or {} if key not in known)


def teach():
    """Puts the check into MiniStack's CloudFormation."""
    from ministack.services import apigateway
    from ministack.services.cloudformation import provisioners

    handler = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Stage"]

    def checked(properties):
        routes = apigateway._routes.get(properties.get("ApiId", ""), {}).values()
        unknown = unknown_routes(properties.get("RouteSettings"), routes)
        if unknown:
            raise ValueError(f"Unable to find Route by key {unknown[0]} within the provided RouteSettings")

    create, update = handler["create"], handler["update"]

    def create_checked(logical_id, properties, stack_name):
        checked(properties)
        return create(logical_id, properties, stack_name)

    def update_checked(physical_id, old, new, *more, **named):
        checked(new)
        return update(physical_id, old, new, *more, **named)

    handler.update(create=create_checked, update=update_checked)
