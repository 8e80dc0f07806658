# The store, its views and the runner: what needs RocksDB and threads.
add_library(projections_rocksdb STATIC checkpoint.cc fetch.cc moved.cc runner.cc start.cc store.cc view.cc waiters.cc)
target_link_libraries(projections_rocksdb PUBLIC projections_core Threads::Threads PRIVATE wal_check RocksDB::rocksdb)
target_precompile_headers(projections_rocksdb REUSE_FROM projections_core)
