# Two images from one file, with Greenroom's own wheel from `wheels/`: `make images` does what follows.
#
#   pip wheel --no-deps --wheel-dir wheels .
#   docker build --target replica --tag greenroom-replica .
#   docker build --target hub     --tag greenroom-hub .
#
# Without a network: pip wheel --wheel-dir wheels '.[hub,docker]' and what PACKAGES names, on the base image's Python;
# then --build-arg PIP_ARGS=--no-index.
#
# BASE      an image with Python 3.11 or newer, its venv module and a shell; not a tag that changes under your feet
# PACKAGES  more packages for replicas, as pip takes them: --build-arg PACKAGES='torch==2.6.0 transformers'
# PIP_ARGS  more arguments for pip, such as --index-url or --no-index
ARG BASE=python:3.11-slim

FROM ${BASE} AS base
# Any user will do: a hub runs replicas as its own. This one is for containers that nobody told otherwise.
RUN echo 'greenroom:x:65532:65532:greenroom:/home/greenroom:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'greenroom:x:65532:' >> /etc/group \
 && mkdir -p /home/greenroom /var/lib/greenroom \
 && chown 65532:65532 /home/greenroom /var/lib/greenroom \
 && chmod 700 /var/lib/greenroom
ENV PATH=/opt/greenroom/bin:$PATH LANG=C.UTF-8

FROM base AS replica-packages
ARG PIP_ARGS=""
ARG PACKAGES=""
COPY wheels /wheels
RUN python3 -m venv /opt/greenroom \
 && /opt/greenroom/bin/pip install --no-cache-dir --disable-pip-version-check --find-links /wheels ${PIP_ARGS} /wheels/greenroom-*.whl ${PACKAGES}

FROM base AS replica
COPY --from=replica-packages /opt/greenroom /opt/greenroom
USER 65532:65532
WORKDIR /home/greenroom
# A hub that launches it gives the configuration in the environment; by hand: docker run IMAGE greenroom replica join ...
CMD ["python", "-m", "greenroom_replica"]

FROM base AS hub-packages
ARG PIP_ARGS=""
COPY wheels /wheels
RUN python3 -m venv /opt/greenroom \
 && /opt/greenroom/bin/pip install --no-cache-dir --disable-pip-version-check --find-links /wheels ${PIP_ARGS} "$(echo /wheels/greenroom-*.whl)[hub,docker]"

FROM base AS hub
COPY --from=hub-packages /opt/greenroom /opt/greenroom
USER 65532:65532
WORKDIR /home/greenroom
VOLUME /var/lib/greenroom
EXPOSE 8780
ENV GREENROOM_STATE=/var/lib/greenroom GREENROOM_HUB_HOST=0.0.0.0 GREENROOM_HUB_PORT=8780
# Beyond loopback only within the container's own network; what is published is the operator's choice.
ENV GREENROOM_HUB_ALLOW_REMOTE=true
ENTRYPOINT ["greenroom", "hub", "serve"]
