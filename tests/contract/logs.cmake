# One suite over every implementation of the log (contract/log_contract.h). Included by tests/CMakeLists.txt.
add_library(log_contract STATIC contract/log_contract.cc contract/log_rig.cc)
target_link_libraries(log_contract PUBLIC events_core Catch2::Catch2)
reprise_test(log_sim_test SOURCES contract/log_sim_test.cc LIBS log_contract sim_log)

if(NOT REPRISE_CORE_ONLY)
  add_library(faulty_disk STATIC contract/faulty_disk.cc)
  target_link_libraries(faulty_disk PUBLIC RocksDB::rocksdb-shared)
  reprise_test(log_embedded_test SOURCES contract/log_embedded_test.cc LIBS log_contract log_embedded faulty_disk)
endif()
