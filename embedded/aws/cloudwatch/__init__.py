"""CloudWatch: the logs of jobs, containers and functions, and the metrics of endpoints."""
