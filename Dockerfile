# docker build --target dispatcher -t ringmaster-dispatcher .
# docker build --target worker     -t ringmaster-worker .

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ENV CGO_ENABLED=0
RUN go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/ \
      ./cmd/dispatcher ./cmd/worker ./cmd/ringctl

# The dispatcher needs nothing beside itself: no shell, no libraries.
FROM scratch AS dispatcher
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/dispatcher /dispatcher
USER 65532:65532
EXPOSE 7070
ENTRYPOINT ["/dispatcher"]

# A worker runs handlers' commands, such as sha256sum: a small system around it.
FROM debian:bookworm-slim AS worker
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/worker /out/ringctl /usr/local/bin/
COPY configs/worker.yaml /etc/ringmaster/worker.yaml
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/worker"]
