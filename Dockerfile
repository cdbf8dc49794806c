# phoenixd as an image with one static program and its licence, two ways:
#
#   docker build -t phoenixd .                       builds phoenixd in a container
#   docker build -t phoenixd --target packaged .     packages dist/phoenixd, built outside:
#       cargo build --release --locked
#       install -D target/$(rustc -vV | sed -n 's/^host: //p')/release/phoenixd dist/phoenixd
#     or, for an edge that answers faster, `scripts/trained` instead of `cargo`, and target/trained/use/ instead of target/.
#
# Both work with BuildKit and with the classic builder. The classic builder runs every stage above the target, so
# `packaged` comes first, where it needs no image at all; and the name dist/phoenixd* matches nothing, instead of
# failing, where the first way passes by.
#
# How to run it: README.md, "In a container".

# Where phoenixd is built: any image with this Rust, a C compiler and a static C library.
ARG BUILD_IMAGE=rust:1.95-bookworm

FROM scratch AS packaged
COPY LICENSE dist/phoenixd* /
LABEL org.opencontainers.image.title="phoenixd" \
      org.opencontainers.image.description="A Docker-native immutable container runner" \
      org.opencontainers.image.licenses="Apache-2.0"
# No USER: the engine's socket belongs to root, or to a group whose number differs from host to host. Whoever may open
# that socket is root on the host in any case; without capabilities, with a read-only root, phoenixd works all the same.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/phoenixd"]
CMD ["--help"]

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin phoenixd \
 && install -D "target/$(rustc -vV | sed -n 's/^host: //p')/release/phoenixd" /dist/phoenixd

FROM scratch
COPY --from=build /src/LICENSE /dist/phoenixd /
LABEL org.opencontainers.image.title="phoenixd" \
      org.opencontainers.image.description="A Docker-native immutable container runner" \
      org.opencontainers.image.licenses="Apache-2.0"
STOPSIGNAL SIGTERM
ENTRYPOINT ["/phoenixd"]
CMD ["--help"]
