"""Starts ministack, a local AWS emulator, with what it lacks for this template; run by ../deploy.sh.

What is added works on the emulator's insides, so its version is fixed in emulator.txt:
 - the routes in an HTTP API's Body, which it ignores;
 - dynamodb:LeadingKeys, by which the functions' permissions are limited, where it checks permissions (AUTH=true);
 - alarms on metric math, which it does not know: they are kept, without data;
 - with COLD=1, a process of its own for each call of a function, so that nothing is cached between two calls.
"""
import json
import os
import re
import sys

from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import apigateway, dynamodb
from ministack.services.cloudformation import provisioners


def with_routes(api_id, body):
    """Gives an API the routes of its Body, and no others."""
    apigateway._routes[api_id] = {}
    apigateway._integrations[api_id] = {}
    for path, methods in ((body or {}).get("paths") or {}).items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            is_signed = any("AWS_IAM" in security for security in operation.get("security") or [])
            made = json.loads(apigateway._create_integration(api_id, {"integrationUri": uri})[2])
            apigateway._create_route(api_id, {
                "routeKey": f"{method.upper()} {path}",
                "target": f"integrations/{made['integrationId']}",
                "authorizationType": "AWS_IAM" if is_signed else "NONE",
            })


def create_api(logical_id, properties, stack):
    result = provisioners._apigw_v2_api_create(logical_id, properties, stack)
    with_routes(result[0], properties.get("Body"))
    return result


def update_api(physical_id, old, new, stack, logical_id=None):
    result = provisioners._apigw_v2_api_update(physical_id, old, new, stack, logical_id)
    with_routes(result[0], new.get("Body"))
    return result


provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"].update(create=create_api, update=update_api)

alarm_record = provisioners._cw_metric_alarm_record


def alarm_without_math(name, properties):
    if "Metrics" in properties:
        properties = {key: value for key, value in properties.items() if key != "Metrics"}
        properties |= {"Namespace": "math", "MetricName": "math"}
    return alarm_record(name, properties)


provisioners._cw_metric_alarm_record = alarm_without_math

if os.environ.get("COLD") == "1":
    invoke = lambda_runtime.ProvidedWorker.invoke

    def invoke_cold(self, *arguments, **named):
        try:
            return invoke(self, *arguments, **named)
        finally:
            with self._lock:
                self._teardown()

    lambda_runtime.ProvidedWorker.invoke = invoke_cold


class TableOfItem(str):
    """The ARN that an action of a transaction is on, with the key of its item's partition."""

    leading_keys = None


def partition_key(table, index=None):
    record = dynamodb._tables.get(str(table).rsplit("/", 1)[-1]) or {}
    for found in record.get("GlobalSecondaryIndexes") or []:
        if found["IndexName"] == index:
            return next(key["AttributeName"] for key in found["KeySchema"] if key["KeyType"] == "HASH")
    return record.get("pk_name")


def leading_keys(request):
    """The partitions' keys of a request, or of one action of a transaction."""
    name = partition_key(request.get("TableName"), request.get("IndexName"))
    item = request.get("Key") or request.get("Item")
    if item:
        return list(item.get(name, {}).values())
    condition = request.get("KeyConditionExpression")
    if condition:
        names = request.get("ExpressionAttributeNames") or {}
        values = request.get("ExpressionAttributeValues") or {}
        for left, right in re.findall(r"(#?[\w.-]+)\s*=\s*(:\w+)", condition):
            if names.get(left, left) == name:
                return list(values.get(right, {}).values())
    keys = []
    for table, what in (request.get("RequestItems") or {}).items():
        for key in what.get("Keys", []):
            keys += key.get(partition_key(table), {}).values()
    # Without a key any condition on keys would hold.
    assert keys or not any(name in request for name in ("Key", "Item", "RequestItems", "KeyConditionExpression")), request
    return keys


service_context = iam_actions.dynamodb_service_context
transaction_checks = iam_actions.dynamodb_transaction_checks
enforce = iam_evaluator.enforce


def context_with_leading_keys(body):
    context = service_context(body)
    keys = leading_keys(json.loads(body or b"{}"))
    if keys:
        context["dynamodb:LeadingKeys"] = keys
    return context


def checks_with_leading_keys(action, body, region, account):
    found = transaction_checks(action, body, region, account)
    if not found:
        return found
    items = [next(iter(action.values())) for action in json.loads(body)["TransactItems"]]
    assert len(items) == len(found), "each action of a transaction is checked"
    checks = []
    for (name, arn), item in zip(found, items):
        arn = TableOfItem(arn)
        arn.leading_keys = leading_keys(item)
        checks.append((name, arn))
    return checks


def enforce_leading_keys(*arguments, resource_arn="*", service_context=None, **named):
    if isinstance(resource_arn, TableOfItem):
        service_context = {**(service_context or {}), "dynamodb:LeadingKeys": resource_arn.leading_keys}
    denied = enforce(*arguments, resource_arn=resource_arn, service_context=service_context, **named)
    if denied:
        print("denied:", arguments[1:3], resource_arn, service_context, file=sys.stderr, flush=True)
    return denied


iam_actions.dynamodb_service_context = context_with_leading_keys
iam_actions.dynamodb_transaction_checks = checks_with_leading_keys
iam_evaluator.enforce = enforce_leading_keys

if __name__ == "__main__":
    from ministack.app import main

    sys.argv = sys.argv[:1]
    main()
