# The pipe's image: one static binary and the files that describe it. `docker build .` needs nothing prepared.

# A release names the builder by its digest and says so in a label: the same builder makes the same bytes.
ARG BUILDER=rust:1.95.0-slim-bookworm

FROM ${BUILDER} AS dependencies
WORKDIR /build
# The dependencies alone, in a layer that a change of the sources leaves as it is.
COPY .cargo .cargo
COPY .ci/build .ci/build
COPY Cargo.toml Cargo.lock ./
# Nothing but the manifests of the workspace, which cargo wants to see.
COPY test test
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs test/demo.rs \
    && for manifest in test/*/Cargo.toml; do mkdir "${manifest%/*}/src" && touch "${manifest%/*}/src/lib.rs"; done \
    && .ci/build

FROM dependencies AS build
COPY src src
# A checkout's times may lie before those of the files that stood in for them.
RUN touch src/main.rs src/lib.rs \
    && .ci/build
COPY LICENSE README.md pipe.yml /image/
# What a checkout decides by chance, modes and times, is the same in every image of a commit.
ARG SOURCE_DATE_EPOCH=0
# Without `multi on`, glibc takes only the first address that /etc/hosts has for a name.
RUN mv target/*/release/openfaas-pipe /image/ \
    && mkdir /image/etc \
    && echo 'multi on' > /image/etc/host.conf \
    && chmod 644 /image/LICENSE /image/README.md /image/pipe.yml /image/etc/host.conf \
    && chmod 755 /image /image/etc /image/openfaas-pipe \
    && touch --date="@$SOURCE_DATE_EPOCH" /image/* /image/etc/host.conf /image/etc /image

FROM scratch
ARG BUILDER
ARG REVISION=""
LABEL org.opencontainers.image.title="openfaas-pipe" \
      org.opencontainers.image.description="Bitbucket Pipe: deploy and invoke OpenFaaS functions with the step's OIDC token" \
      org.opencontainers.image.version="0.3.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.url="https://bitbucket.org/openfaas-pipe/openfaas-pipe" \
      org.opencontainers.image.source="https://bitbucket.org/openfaas-pipe/openfaas-pipe" \
      org.opencontainers.image.documentation="https://bitbucket.org/openfaas-pipe/openfaas-pipe/src/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      openfaas-pipe.builder="${BUILDER}"
COPY --from=build /image/ /
# Root, which scratch has by default: Bitbucket's storage directories can be written by no other user.
ENTRYPOINT ["/openfaas-pipe"]
