# On processors:    docker build -t conrec .
# On NVIDIA GPUs:   docker build -t conrec --build-arg DEVICE=gpu .
# What a run leaves lies in the folder that is mounted, and belongs to who runs it:
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/work" conrec --mode=train_then_eval
# (with --gpus=all for GPUs). Arguments are those of the command conrec.
FROM python:3.13-slim

ARG DEVICE=cpu
WORKDIR /opt/conrec_tf

# The libraries first: they stay in the cache of the build while the package changes.
COPY requirements-latest.txt ./
RUN pip install --no-cache-dir -r requirements-latest.txt \
  && if [ "$DEVICE" = gpu ]; then \
    pip install --no-cache-dir -c requirements-latest.txt "tensorflow[and-cuda]"; \
  fi

# pyproject.toml names the files of all extras.
COPY pyproject.toml README.md LICENSE requirements*.txt ./
COPY conrec_tf conrec_tf
COPY flags flags
RUN pip install --no-cache-dir --no-deps .

# Data that is prepared, and caches, go there too: other users may write nothing in the image.
ENV HOME=/work
WORKDIR /work
ENTRYPOINT ["conrec"]
