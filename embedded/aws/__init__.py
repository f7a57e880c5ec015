"""The embedded stand-in for the AWS services the desk uses: same wire, same rules, one machine.

Requests are dispatched and checked against botocore's own service models, so unmodified SDKs work with nothing but
AWS_ENDPOINT_URL. Training jobs, endpoints and functions are real processes; records live in MongoDB.
"""
