export SPACK_ENV=/opt/spack-environment;
export SPACK_ENV_VIEW=default;
alias despacktivate='spack env deactivate';
export ACLOCAL_PATH=/usr/share/aclocal:/opt/view/share/aclocal;
export CMAKE_PREFIX_PATH=/opt/view:/opt/qs/vendor/qs-vendor;
export MANPATH=/opt/qs/vendor/qs-vendor/share/man:/usr/share/man:/opt/view/share/man:/opt/view/man:;
export PATH=/opt/view/bin:/opt/qs/vendor/qs-vendor/bin:/usr/bin:/bin;
export PKG_CONFIG_PATH=/opt/qs/vendor/qs-vendor/lib/pkgconfig:/usr/share/pkgconfig:/usr/lib/pkgconfig:/opt/view/share/pkgconfig:/opt/view/lib64/pkgconfig:/opt/view/lib/pkgconfig;
