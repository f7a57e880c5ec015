"""The other servers of the same booster, each in the environment of bench/requirements-serving.txt. Stands alone.

`python bench/serving_peers.py mlflow|bentoml BOOSTER FOLDER PORT WORKERS` becomes the server: MLflow's model scoring
server of `mlflow models serve`, or BentoML's of `bentoml serve`. Both take {"instances": [[number, ..], ..]} at
/invocations, as the container does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def serve(kind: str, booster: str, folder: str, port: str, workers: str) -> None:
    # Neither is to report its use to anybody, and one row is too little work for a pool of threads.
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}
    os.environ |= {"OMP_NUM_THREADS": "1", "BENCH_BOOSTER": booster, "BENCH_WORKERS": workers}
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if kind == "mlflow":
        import mlflow.xgboost
        import xgboost

        model = Path(folder) / "mlflow"
        if not model.exists():
            loaded = xgboost.Booster(model_file=booster)
            loaded.set_param({"nthread": 1})
            mlflow.xgboost.save_model(loaded, str(model))
        command = ["mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "--workers", workers]
        os.execv(sys.executable, [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", port])
    os.chdir(Path(__file__).parent)
    command = ["bentoml", "serve", "serving_bento:Fraud", "--host", "127.0.0.1", "--port", port]
    os.execv(sys.executable, [sys.executable, "-m", *command])


if __name__ == "__main__":
    serve(*sys.argv[1:6])
