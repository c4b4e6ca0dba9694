# The lockfile of {{.Name}} for {{.Platform}}, as mage containers:lock wrote it.
FROM {{.Builder}} AS builder
FROM scratch
COPY --from=builder /opt/spack-environment/spack.lock /spack.lock
