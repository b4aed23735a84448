# unmask on Debian 12: everything that scripts/setup installs, the program built, the detector imported.
#   docker build -t unmask .
#   docker run --rm unmask scripts/demo                                            the demo
#   docker run --rm --user "$(id -u):$(id -g)" -v /data:/data unmask mpirun -n 8 unmask preprocess /data/dfdc --store /data/store
# Without --user it runs as user 1000, who must be allowed to write the store.
FROM debian:12

WORKDIR /opt/unmask
# Packages, weights and portraits first: this layer stays when only the sources change.
COPY scripts scripts
RUN scripts/setup && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY . .
RUN scripts/build \
    && ln -s /opt/unmask/build/release/unmask /usr/local/bin/unmask \
    && useradd --create-home --uid 1000 unmask && chown -R unmask: /opt/unmask

USER unmask
# Containers forbid the call by which ranks of one node read each other's memory.
ENV OMPI_MCA_btl_vader_single_copy_mechanism=none
CMD ["scripts/demo"]
