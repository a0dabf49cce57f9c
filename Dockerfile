# One image for every service, from requirements.lock. CPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.11-slim AS build

ARG TORCH_INDEX=https://pypi.org/simple
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
# Another index has a torch of its own, without CUDA's packages and under another hash.
RUN if [ "${TORCH_INDEX}" != https://pypi.org/simple ]; then \
        pip install --prefix /installed --no-deps --index-url "${TORCH_INDEX}" "$(grep -o '^torch==[^ ]*' requirements.lock)" \
        && awk '/^[a-z]/ {left_out = /^(torch|triton|nvidia-|cuda-)/} !left_out' requirements.lock > other.lock \
        && mv other.lock requirements.lock; \
    fi \
    && pip install --prefix /installed --no-deps --ignore-installed --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY nebula_tune nebula_tune
COPY studies studies
COPY nebulae nebulae
RUN pip install --prefix /installed --no-deps .

FROM python:3.11-slim

# wget: KubeRay's probes call it
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 tuner \
    && mkdir -p /data /cache \
    && chown tuner /data /cache
COPY --from=build /installed /usr/local
USER tuner
ENV NEBULA_TUNE_CACHE=/cache RAY_USAGE_STATS_ENABLED=0
WORKDIR /data
ENTRYPOINT []
CMD ["nebula-tune", "--help"]
