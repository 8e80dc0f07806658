// An operator at the brokers of `ops/kafka --state DIR`, for tests of what may be done to topics.
//   REPRISE_TEST_KAFKA_STATE=DIR kafka_topics delete TOPIC | empty TOPIC | set TOPIC K=V… | make TOPIC K=V…
// `empty` drops what is in it, as retention would; `set` leaves only these settings; replicas=N is for `make`.
#include <cstdio>
#include <exception>
#include <string>

#include "tests/system/kafka_brokers.h"

int main(int argc, char** argv) try {
  if (argc < 3) return 2;
  const std::string verb = argv[1], topic = argv[2];
  std::map<std::string, std::string> settings;
  for (int i = 3; i < argc; ++i) {
    const std::string word = argv[i];
    const auto equals = word.find('=');
    if (equals == word.npos) return 2;
    settings[word.substr(0, equals)] = word.substr(equals + 1);
  }
  auto& brokers = reprise::contract::KafkaBrokers::get(0);
  if (verb == "delete") brokers.delete_topic(topic);
  else if (verb == "empty") brokers.empty_topic(topic);
  else if (verb == "set") brokers.set(topic, settings);
  else if (verb == "make") brokers.create_topic(topic, 1, settings);
  else return 2;
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "kafka_topics: %s\n", problem.what());
  return 1;
}
