# unmask on Debian 12, in two stages: built and tested in the first, the second has what it runs with.
#   docker build -t unmask .                                        (compiles and runs the quick tests; --build-arg TESTS=none: without them)
#   docker run --rm unmask                                          the demo (unmask-demo; --short: a minute)
#   docker run --rm --user "$(id -u):$(id -g)" -v /data:/data unmask mpirun -n 8 unmask preprocess /data/dfdc --store /data/store
# Without --user it runs as user 1000, who must be allowed to write the store.
#
# The GPU variant, which nobody has built or run yet (docs/gpu.md):
#   docker build -t unmask:gpu --build-arg CUDA_KEYRING=ADDRESS .   ADDRESS: of NVIDIA's package cuda-keyring for Debian 12, as their installation guide has it
#   docker run --rm --gpus all unmask:gpu unmask doctor --selftest
FROM debian:12 AS build
ARG CUDA_KEYRING=
ARG CUDA=13-0
ARG TESTS=quick
WORKDIR /src
# Packages, weights and portraits first: this layer stays when only the sources change.
COPY scripts scripts
RUN CUDA_KEYRING="$CUDA_KEYRING" CUDA="$CUDA" scripts/image setup
COPY . .
RUN CUDA_KEYRING="$CUDA_KEYRING" CUDA="$CUDA" TESTS="$TESTS" scripts/image build

FROM debian:12
COPY --from=build /opt/unmask /opt/unmask
RUN /opt/unmask/share/unmask/scripts/image runtime
USER unmask
WORKDIR /work
# Containers forbid the call by which ranks of one node read each other's memory.
ENV OMPI_MCA_btl_vader_single_copy_mechanism=none
CMD ["unmask-demo"]
