"""The JSON rival: json.loads, numpy, json.dumps behind FastAPI, as one would write it by hand.

No pydantic model stands between the bytes and the numbers; uvicorn runs on uvloop and httptools in
one process, without an access log.

    python -m bench.serve.references.fastapi_json PORT
"""

from __future__ import annotations

import json
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.get("/v2/health/ready")
async def ready() -> Response:
    return Response()


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request) -> Response:
    document = json.loads(await request.body())
    tensor = document["inputs"][0]
    array = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
    output = {
        "name": "OUTPUT0",
        "datatype": "FP32",
        "shape": list(array.shape),
        "data": array.ravel().tolist(),
    }
    answer = {"model_name": model, "model_version": "1", "outputs": [output]}
    return Response(json.dumps(answer), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
