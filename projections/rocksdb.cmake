# The store, its views and the runner: what needs RocksDB and threads.
add_library(projections_rocksdb STATIC store.cc view.cc runner.cc)
target_link_libraries(projections_rocksdb PUBLIC projections_core PRIVATE RocksDB::rocksdb Threads::Threads)
