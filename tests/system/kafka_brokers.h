// Real Kafka brokers for a test: started by ops/kafka in a folder of their own, gone with the process. With
// REPRISE_TEST_KAFKA_STATE=DIR those of `ops/kafka up N --state DIR` are used and left running.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "events/ids.h"
#include "events/log_place.h"

namespace reprise::contract {

class KafkaBrokers {
 public:
  // The test's brokers: started when first asked for. One number of them per process; 0: as many as there were.
  static KafkaBrokers& get(int count = 1);
  ~KafkaBrokers();

  const std::string& bootstrap() const { return bootstrap_; }
  // A cluster name that nobody has used, in this place.
  KafkaPlace fresh_place();

  void stop(int broker);   // it hangs
  void kill(int broker);   // it crashes
  void start(int broker);  // it goes on, or is back

  // Makes a topic, with a configuration that may be wrong; "replicas" is one of the settings.
  void create_topic(const std::string& name, int partitions,
                    const std::map<std::string, std::string>& settings);
  void set(const std::string& topic, const std::map<std::string, std::string>& settings);
  // Drops everything that is in a topic now, as retention would.
  void empty_topic(const std::string& name);
  void delete_topic(const std::string& name);
  int leader_of(const std::string& topic);

 private:
  explicit KafkaBrokers(int count);
  void await_appends();
  std::string run(const std::vector<std::string>& words);

  std::string state_;
  std::string bootstrap_;
  bool ours_ = false;
};

}  // namespace reprise::contract
