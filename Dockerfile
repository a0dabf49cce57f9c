# One image for every service. CPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.11-slim

ARG TORCH_INDEX=https://pypi.org/simple
RUN apt-get update \
    && apt-get install -y --no-install-recommends libsndfile1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 tuner

WORKDIR /app
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY nebula_tune nebula_tune
COPY studies studies
COPY nebulae nebulae
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch==2.13.0 \
    && pip install --no-cache-dir '.[postgres,dashboard,cluster]'

RUN mkdir -p /data /cache && chown tuner /data /cache
USER tuner
ENV NEBULA_TUNE_CACHE=/cache
WORKDIR /data
ENTRYPOINT []
CMD ["nebula-tune", "--help"]
