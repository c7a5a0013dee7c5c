# Three images of one service. The last stage is the default:
#
#   docker build --target gpu .    PyTorch on CUDA
#   docker build --target jobs .   as cpu, with what background jobs need: Redis' client, RQ, Parquet
#   docker build --target cpu .    int8 on ONNX Runtime, without PyTorch
#
# Tokens (JWT) and traces need extras, which an image has if you ask for them: --build-arg EXTRAS="jwt tracing".
#
# You can use another base if it has Python 3.11 or later as `python3`, with venv, and Debian's useradd. The gpu target
# uses the same base: PyTorch's wheels contain the CUDA libraries, so an nvidia/cuda base would contain them twice. The
# driver comes from the host, through the NVIDIA container toolkit.
#
# Behind a package mirror, pass what pip needs: --secret id=pip.conf,src=… (its configuration) and --secret
# id=ca.crt,src=… (certificates, which pip reads from /etc/ssl/certs/ca-certificates.crt). No layer keeps them.
ARG BASE=python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84


# Everything except the code. The project is installed in editable mode, with placeholders for the files that come
# later: the installation reads only the version. So a change of the code does not rebuild this stage, which is the
# largest layer of the image. It goes without numpy's tests.
FROM ${BASE} AS dependencies
WORKDIR /opt/rt-sentiment
# Two environments: the one with pip stays here, the other one is copied into the image.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY LICENSE pyproject.toml requirements.txt ./
COPY app/__init__.py app/
COPY deploy/editable.py deploy/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    touch README.md && mkdir -p models/sentiment-en && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
      --require-hashes --requirement requirements.txt && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation --editable . && \
    find /opt/venv/lib -path '*/numpy/*' -type d -name tests -prune -exec rm -r {} + && \
    chmod -R go-w /opt/venv
# Only what is asked for, in any of the images: --build-arg EXTRAS="jwt tracing".
ARG EXTRAS=
COPY requirements/jwt.txt requirements/tracing.txt requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    for extra in $EXTRAS; do \
      /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
        --require-hashes --requirement "requirements/$extra.txt" || exit 1; \
    done && \
    chmod -R go-w /opt/venv


FROM dependencies AS dependencies-gpu
COPY requirements/gpu.txt requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
      --require-hashes --requirement requirements/gpu.txt && \
    chmod -R go-w /opt/venv


FROM dependencies AS dependencies-jobs
COPY requirements/jobs.txt requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
      --require-hashes --requirement requirements/jobs.txt && \
    chmod -R go-w /opt/venv


# Code and models for the images. The code is compiled, because the running container cannot write. All files become
# readable by every user, whatever their modes in the checkout. The build fails if a model differs from its manifest.
FROM dependencies AS content
COPY app app
COPY models models
RUN chmod -R u=rwX,go=rX app models && \
    /opt/venv/bin/python -m compileall -q app && \
    for model in models/*; do \
      /opt/venv/bin/python -c 'import sys; from app.inference.artifact import open_artifact; model = open_artifact(sys.argv[1]); \
        assert model.manifest, "a model without a manifest"; \
        model.verify_companions(); model.verify(*model.files.values())' "$model" || exit 1; \
    done


FROM content AS content-cpu
# Only PyTorch reads these files.
RUN find models \( -name '*.safetensors' -o -name 'pytorch_model.bin' \) -delete


# The common part of both images.
FROM ${BASE} AS runtime
WORKDIR /opt/rt-sentiment
RUN groupadd --gid 10001 sentiment && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sentiment && \
    install --directory --owner sentiment --group sentiment --mode 0700 /var/lib/rt-sentiment
# The service writes no files, so the root file system can be read-only. Only a model from the Hugging Face Hub
# (SENTIMENT_MODEL=owner/name) needs a writable HF_HOME.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/tmp/huggingface \
    SENTIMENT_PROFILE=prod
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client instead of urllib, which would use the proxy from http_proxy.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD \
    ["python", "-ISc", "import http.client, os, ssl, sys; \
      host = os.environ.get('SENTIMENT_HOST') or '0.0.0.0'; \
      host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host); \
      port = int(os.environ.get('SENTIMENT_PORT') or 8000); \
      c = http.client.HTTPSConnection(host, port, timeout=2, context=ssl._create_unverified_context()) \
        if os.environ.get('SENTIMENT_TLS_CERT_FILE') else http.client.HTTPConnection(host, port, timeout=2); \
      c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
# The server is process 1 and receives the signals: SIGTERM drains.
ENTRYPOINT ["rt-sentiment"]
CMD ["serve"]
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rt-sentiment" \
      org.opencontainers.image.description="A low-latency text-sentiment API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"


FROM runtime AS gpu
# On import PyTorch creates a cache folder for its compiler, even if the compiler is not used. Use one that exists.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TORCHINDUCTOR_CACHE_DIR=/tmp
COPY --from=dependencies-gpu /opt/venv /opt/venv
COPY --from=content /opt/rt-sentiment/LICENSE ./
COPY --from=content /opt/rt-sentiment/models models
COPY --from=content /opt/rt-sentiment/app app


FROM runtime AS jobs
COPY --from=dependencies-jobs /opt/venv /opt/venv
COPY --from=content-cpu /opt/rt-sentiment/LICENSE ./
COPY --from=content-cpu /opt/rt-sentiment/models models
COPY --from=content-cpu /opt/rt-sentiment/app app


FROM runtime AS cpu
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=content-cpu /opt/rt-sentiment/LICENSE ./
COPY --from=content-cpu /opt/rt-sentiment/models models
COPY --from=content-cpu /opt/rt-sentiment/app app
