# One suite over every implementation of the log (contract/log_contract.h). Included by tests/CMakeLists.txt.
add_library(log_contract STATIC contract/log_contract.cc contract/log_rig.cc)
target_link_libraries(log_contract PUBLIC events_core Catch2::Catch2)
target_precompile_headers(log_contract REUSE_FROM events_core)
reprise_test(log_sim_test PARSED_BY events_core SOURCES contract/log_sim_test.cc LIBS log_contract sim_log)

if(NOT REPRISE_CORE_ONLY)
  reprise_test(log_place_test SOURCES unit/log_place_test.cc LIBS log_place)

  add_library(faulty_disk STATIC contract/faulty_disk.cc)
  target_link_libraries(faulty_disk PUBLIC RocksDB::rocksdb)
  reprise_test(log_embedded_test PARSED_BY events_core SOURCES contract/log_embedded_test.cc LIBS log_contract log_embedded faulty_disk)

  add_executable(log_appender contract/log_appender.cc)
  target_link_libraries(log_appender PRIVATE log_embedded)
  reprise_test(log_embedded_folder_test PARSED_BY events_core SOURCES contract/log_embedded_folder_test.cc
               LIBS log_contract log_embedded faulty_disk)
  add_dependencies(log_embedded_folder_test log_appender)
  target_compile_definitions(log_embedded_folder_test PRIVATE LOG_APPENDER="$<TARGET_FILE:log_appender>")

  add_library(kafka_brokers STATIC system/kafka_brokers.cc)
  target_link_libraries(kafka_brokers PUBLIC log_place PkgConfig::rdkafka)
  target_compile_definitions(kafka_brokers PRIVATE OPS_KAFKA="${CMAKE_SOURCE_DIR}/ops/kafka")
  reprise_test(log_kafka_test SLOW NEEDS kafka PARSED_BY events_core SOURCES contract/log_kafka_test.cc LIBS log_contract log_kafka kafka_brokers)

  add_executable(kafka_topics system/kafka_topics.cc)
  target_link_libraries(kafka_topics PRIVATE kafka_brokers)
  add_executable(kafka_stander system/kafka_stander.cc)
  target_link_libraries(kafka_stander PRIVATE log_kafka)
  reprise_test(kafka_log_test SLOW NEEDS kafka PARSED_BY events_core SOURCES system/kafka_log_test.cc LIBS log_contract log_kafka kafka_brokers)
  add_dependencies(kafka_log_test kafka_stander)
  target_compile_definitions(kafka_log_test PRIVATE KAFKA_STANDER="$<TARGET_FILE:kafka_stander>")
  reprise_test(kafka_failover_test SLOW NEEDS kafka PARSED_BY events_core SOURCES system/kafka_failover_test.cc LIBS log_contract log_kafka kafka_brokers)

  # The real binary on three real brokers: a few rounds of each; tests/README.md has the long ones. They want root.
  reprise_case(kafka_rounds_test SLOW NEEDS kafka BUILDS reprise
    COMMAND ${CMAKE_SOURCE_DIR}/tests/system/brokers.py --binary $<TARGET_FILE:reprise> --rounds 3 --cut-offs 1)
  reprise_case(kafka_topics_test SLOW NEEDS kafka BUILDS reprise kafka_topics
    COMMAND ${CMAKE_SOURCE_DIR}/tests/system/topics_damaged.py --binary $<TARGET_FILE:reprise>
      --topics $<TARGET_FILE:kafka_topics>)

  add_executable(log_bench bench/log_bench.cc)
  target_link_libraries(log_bench PRIVATE log_embedded log_kafka)
endif()
