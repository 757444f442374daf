# syntax=docker/dockerfile:1
# SPDX-License-Identifier: Apache-2.0

# The compiler runs on the machine's own platform and compiles for the wanted one: no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# The modules change less often than the code and have a layer of their own. glog and the simulator are modules inside this repository.
COPY go.mod go.sum ./
COPY internal/avi/glog/go.mod internal/avi/glog/
COPY pkg/avisim/go.mod pkg/avisim/
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH REVISION
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOCACHE=/cache
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/cache \
    go build -trimpath -tags=grpcnotrace -ldflags="-s -w -X github.com/avi-l4-operator/avi-l4-operator/internal/version.revision=$REVISION" -o /out/ . ./cmd/avisim
# Users and groups of the images: root has to exist by name for tools that look at the image from outside.
RUN printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > /out/passwd && \
    printf 'root:x:0:\nnonroot:x:65532:\n' > /out/group && \
    mkdir /out/state

# Distroless: no shell, no package manager, no libraries. All that a static program needs of a distribution is the list
# of certificate authorities, so there is no base image to keep up to date but the compiler's.
FROM scratch AS runtime
ARG VERSION REVISION
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/passwd /out/group /etc/
# By number: a kubelet checks runAsNonRoot without reading the image's /etc/passwd.
USER 65532:65532

# docker build --target avisim: the simulated Controller, for config/trial and config/components/simulator. It writes to /state
# alone, and there only if it is told to (--state-file), so the root file system may be read-only.
FROM runtime AS avisim
LABEL org.opencontainers.image.title=avi-l4-simulator
COPY --from=build /out/avisim /avisim
COPY --from=build --chown=65532:65532 /out/state /state
VOLUME /state
EXPOSE 9443
HEALTHCHECK --interval=10s --timeout=6s CMD ["/avisim", "--healthcheck"]
ENTRYPOINT ["/avisim"]
CMD ["--addr=:9443"]

FROM runtime AS operator
LABEL org.opencontainers.image.title=avi-l4-operator
COPY --from=build /out/avi-l4-operator /avi-l4-operator
ENTRYPOINT ["/avi-l4-operator"]
