"""SageMaker: training jobs, models, endpoints and the model registry, one module a resource."""
