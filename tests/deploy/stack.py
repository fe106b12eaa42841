"""What ../deploy.sh asks of a deployed stack, by AWS's own calls.

usage: stack.py url STACK            where its API is called
       stack.py triggers STACK on|off  whether changes and the clock call the worker
       stack.py listen STACK QUEUE   from now on its events go to a queue too
       stack.py heard QUEUE COUNT    waits for so many events, and prints their types
       stack.py untold STACK         puts into the dead letters what Lambda does for the changes of this hour
       stack.py limits STACK FUNCTION ALLOWED DENIED  whether its role may read the one partition, and not the other
       stack.py versions STACK       each function's live version, and its code's hash
       stack.py back STACK FUNCTION  points the function's alias to the version before
       stack.py dump TABLE           every item, in a fixed order
       stack.py drop TABLE           tries to delete the table
       stack.py logs FILE            writes all lines of all logs
       stack.py secrets FILE LOGS    fails if a secret of the file stands in the logs, or the logs are not as promised
"""
import json
import os
import sys
import time

import boto3


def resources(stack):
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return {found["LogicalResourceId"]: found for page in pages for found in page["StackResourceSummaries"]}


def physical(stack, name):
    found = resources(stack).get(name)
    return found["PhysicalResourceId"] if found else sys.exit(f"{name} of {stack} does not exist")


def url(stack):
    print(f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{physical(stack, 'Api')}/$default")


def triggers(stack, state):
    functions, events = boto3.client("lambda"), boto3.client("events")
    switched = 0
    for found in resources(stack).values():
        name = found["PhysicalResourceId"]
        if found["ResourceType"] == "AWS::Lambda::EventSourceMapping":
            functions.update_event_source_mapping(UUID=name, Enabled=state == "on")
        elif found["ResourceType"] == "AWS::Events::Rule":
            (events.enable_rule if state == "on" else events.disable_rule)(Name=name)
        else:
            continue
        switched += 1
    assert switched == 2, f"{switched} triggers"


def listen(stack, queue):
    queues, events = boto3.client("sqs"), boto3.client("events")
    made = queues.create_queue(QueueName=queue)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=made, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = physical(stack, "EventBus")
    events.put_rule(Name=queue, EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule=queue, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])


def heard(queue, count):
    queues = boto3.client("sqs")
    url, kinds = queues.get_queue_url(QueueName=queue)["QueueUrl"], []
    until = time.monotonic() + 30
    while len(kinds) < int(count):
        if time.monotonic() > until:
            sys.exit(f"only {kinds} after 30 s")
        for message in queues.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            kinds.append(json.loads(message["Body"])["detail-type"])
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    print("\n".join(sorted(kinds)))


def untold(stack):
    now = time.time()
    moment = lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    table = boto3.client("dynamodb").describe_table(TableName=physical(stack, "Table"))["Table"]
    batch = {"shardId": "shardId-1", "startSequenceNumber": "1", "endSequenceNumber": "3", "batchSize": 3,
             "approximateArrivalOfFirstRecord": moment(now - 3600), "approximateArrivalOfLastRecord": moment(now),
             "streamArn": table["LatestStreamArn"]}
    letter = {"requestContext": {"requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted",
                                 "approximateInvokeCount": 10000},
              "responseContext": {"statusCode": 200}, "version": "1.0", "timestamp": moment(now),
              "DDBStreamBatchInfo": batch}
    boto3.client("sqs").send_message(QueueUrl=physical(stack, "UntoldChanges"), MessageBody=json.dumps(letter))


def limits(stack, function, allowed, denied):
    name = physical(stack, function)
    role = boto3.client("lambda").get_function(FunctionName=name)["Configuration"]["Role"]
    session = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="limits")["Credentials"]
    as_function = boto3.client(
        "dynamodb",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )

    def read(partition):
        key = {"pk": {"S": partition}, "sk": {"S": "TENANT"}}
        as_function.get_item(TableName=stack, Key=key)

    read(allowed)
    try:
        read(denied)
    except as_function.exceptions.ClientError as error:
        assert "AccessDenied" in error.response["Error"]["Code"], error
        return
    sys.exit(f"{function} may read {denied}")


def versions(stack):
    functions = boto3.client("lambda")
    for name, found in sorted(resources(stack).items()):
        if found["ResourceType"] == "AWS::Lambda::Function":
            live = functions.get_alias(FunctionName=found["PhysicalResourceId"], Name="live")["FunctionVersion"]
            told = functions.get_function(FunctionName=found["PhysicalResourceId"], Qualifier=live)["Configuration"]
            print(name, live, told["CodeSha256"])


def back(stack, function):
    functions, name = boto3.client("lambda"), physical(stack, function)
    live = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=str(int(live) - 1))


def dump(table):
    items = []
    for page in boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        items += [json.dumps(item, sort_keys=True, default=bytes.hex) for item in page["Items"]]
    print("\n".join(sorted(items)))


def drop(table):
    boto3.client("dynamodb").delete_table(TableName=table)


def logs(path):
    client = boto3.client("logs")
    with open(path, "w") as file:
        for groups in client.get_paginator("describe_log_groups").paginate():
            for group in groups["logGroups"]:
                name = group["logGroupName"]
                for page in client.get_paginator("filter_log_events").paginate(logGroupName=name):
                    for event in page["events"]:
                        print(name, event["message"].rstrip("\n"), sep="\t", file=file)


# Where the platform's own lines begin; the others are the functions'.
PLATFORM = ("START ", "END ", "REPORT ")

# Shorter ones are found in anything.
SECRET_CHARS_MIN = 6


def as_json(text):
    return json.dumps(text, ensure_ascii=False)[1:-1]


def secrets(path, log_path):
    with open(path) as file:
        wanted = {json.loads(line) for line in file}
    wanted = {secret for secret in wanted if len(secret) >= SECRET_CHARS_MIN}
    lines, requests, functions = [], 0, set()
    with open(log_path) as file:
        for line in file:
            group, message = line.rstrip("\n").split("\t", 1)
            lines.append(message)
            if message.startswith(PLATFORM):
                continue
            told = json.loads(message)
            if told["message"] in ("answered", "worked"):
                requests += 1
                functions.add(told["function"])
                assert group.startswith("/refunds/"), group
                assert told["timestamp"].endswith("Z") and told["level"] in ("INFO", "ERROR"), told
                metrics = told["_aws"]["CloudWatchMetrics"]
                assert all(metric["Namespace"].startswith("refunds-") for metric in metrics), told
    text = "\n".join(lines)
    # As it stands, and as it stands within JSON.
    found = [secret for secret in wanted if secret in text or as_json(secret) in text]
    if found:
        for secret in found:
            print("in a log:", next(line for line in lines if secret in line or as_json(secret) in line))
        sys.exit(f"{len(found)} secrets stand in the logs")
    assert len(wanted) > 100 and len(functions) == 9, (len(wanted), functions)
    print(f"{len(wanted)} secrets, none of them in {len(lines)} lines of {requests} requests of {len(functions)} functions")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in globals():
        sys.exit(__doc__)
    globals()[sys.argv[1]](*sys.argv[2:])
