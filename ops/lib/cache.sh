# Sourced by the programs in ops/: where that is which is built or fetched once for a machine, outside the checkout.
#   $cache/ovs       libopenvswitch: PKG_CONFIG_PATH=$cache/ovs/lib/pkgconfig finds it
#   $cache/kernel    the test guest's kernel: vmlinuz, modules/kernel, release
#   $cache/kafka     Apache Kafka: libs/*.jar
#   $cache/images    the test guest, when not told otherwise
cache=${REPRISE_CACHE:-/var/cache/reprise}
