# One image for workers, beat, migrations and the command line: docker build -t mailmirror .
#
# The base image is named by its full version. A name can be moved; to pin the bytes, look its digest up with
#     docker buildx imagetools inspect python:3.13.16-slim-trixie
# and put it behind the name: python:3.13.16-slim-trixie@sha256:...
ARG PYTHON=python:3.13.16-slim-trixie

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The environment that is shipped: wheels with known hashes, and no pip.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/mailmirror \
 && pip --python /opt/mailmirror/bin/python install --require-hashes --only-binary :all: -r requirements.lock

# The one that builds our own wheel, pinned in the same way, stays behind.
COPY requirements-local.lock ./
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-local.lock

COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY models ./models
COPY worker ./worker
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/mailmirror/bin/python install --no-index --no-deps /wheels/*.whl

FROM ${PYTHON}
RUN groupadd --gid 10001 mailmirror \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mailmirror
COPY --from=build /opt/mailmirror /opt/mailmirror
# The root file system may be read-only: nothing is written but below /tmp.
ENV PATH=/opt/mailmirror/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MAILMIRROR_DATA=/tmp
WORKDIR /tmp
USER 10001:10001
CMD ["mailmirror", "--help"]
