# Where the log lives: adapters, each with its one library. The simulated log is in tests/sim.
add_library(log_place STATIC log_place.cc)
target_link_libraries(log_place PUBLIC events_base)

add_library(wal_check STATIC wal_check.cc)
target_link_libraries(wal_check PRIVATE fmt::fmt)

add_library(log_embedded STATIC embedded_log.cc embedded_store.cc embedded_folder.cc)
target_link_libraries(log_embedded PUBLIC events_core PRIVATE wal_check RocksDB::rocksdb Threads::Threads)
target_precompile_headers(log_embedded REUSE_FROM events_core)

add_library(log_kafka STATIC kafka_log.cc kafka_client.cc kafka_asker.cc kafka_topics.cc kafka_producer.cc
            kafka_reader.cc kafka_candidacy.cc kafka_witness.cc)
target_link_libraries(log_kafka PUBLIC events_core log_place PRIVATE PkgConfig::rdkafka Threads::Threads)
target_precompile_headers(log_kafka REUSE_FROM events_core)
