# Cross-compile on the architecture of the build machine, which needs no emulation.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=""
ARG REVISION=""
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$VERSION \
    -X github.com/prometheus/common/version.Revision=$REVISION" -o /bunq_exporter .
# A new volume starts as a copy of this folder, which only the user of the exporter can read and write.
RUN install -d -m 0700 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /bunq_exporter /bin/bunq_exporter
COPY --from=build --chown=65532:65532 /data /var/lib/bunq_exporter
USER 65532:65532
WORKDIR /var/lib/bunq_exporter
VOLUME /var/lib/bunq_exporter
# For --demo: the only writable folder if the root file system is read-only.
ENV TMPDIR=/var/lib/bunq_exporter
EXPOSE 10059
ENTRYPOINT ["/bin/bunq_exporter"]
CMD ["--config.file=/etc/bunq_exporter/config.yml"]
