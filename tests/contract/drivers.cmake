# The simulated drivers under the drivers' contract; the real ones stand with their drivers in agents/.
reprise_test(simulated_drivers_contract PARSED_BY projections_core
  SOURCES contract/simulated_drivers_test.cc contract/compute_suite.cc contract/storage_suite.cc
  LIBS agents_core)
