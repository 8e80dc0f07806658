#include "tests/system/kafka_brokers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <librdkafka/rdkafka.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>

namespace reprise::contract {
namespace {

[[noreturn]] void give_up(const std::string& why) { throw std::runtime_error(why); }

// An admin handle, one request, its answer.
class Admin {
 public:
  explicit Admin(const std::string& bootstrap) {
    char why[200];
    auto* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap.c_str(), why, sizeof why);
    handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!handle_) give_up(why);
    queue_ = rd_kafka_queue_new(handle_);
  }
  ~Admin() {
    if (event_) rd_kafka_event_destroy(event_);
    rd_kafka_queue_destroy(queue_);
    rd_kafka_destroy(handle_);
  }
  rd_kafka_t* handle() { return handle_; }
  rd_kafka_queue_t* queue() { return queue_; }
  rd_kafka_event_t* answer() {
    if (event_) rd_kafka_event_destroy(event_);
    event_ = rd_kafka_queue_poll(queue_, 30'000);
    if (!event_) give_up("no answer from the brokers");
    if (rd_kafka_event_error(event_)) give_up(rd_kafka_event_error_string(event_));
    return event_;
  }

 private:
  rd_kafka_t* handle_ = nullptr;
  rd_kafka_queue_t* queue_ = nullptr;
  rd_kafka_event_t* event_ = nullptr;
};

}  // namespace

KafkaBrokers& KafkaBrokers::get(int count) {
  static KafkaBrokers brokers(count);
  return brokers;
}

KafkaBrokers::KafkaBrokers(int count) {
  if (const char* given = std::getenv("REPRISE_TEST_KAFKA_STATE")) {
    state_ = given;
  } else {
    auto path = (std::filesystem::temp_directory_path() / "reprise-kafka-XXXXXX").string();
    if (!::mkdtemp(path.data())) give_up("cannot make a folder for the brokers");
    state_ = path;
    ours_ = true;
  }
  bootstrap_ = count ? run({"up", std::to_string(count)}) : run({"up"});
  bootstrap_.erase(bootstrap_.find_last_not_of(" \n") + 1);
  await_appends();
}

KafkaBrokers::~KafkaBrokers() {
  if (!ours_) return;
  try {
    run({"down", "--wipe"});
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "the test's brokers are left in %s: %s\n", state_.c_str(), problem.what());
  }
}

KafkaPlace KafkaBrokers::fresh_place() {
  static std::atomic<int> count = 0;
  return {bootstrap_, fmt::format("test-{}-{}-{}", ::getpid(), std::time(nullptr), ++count)};
}

void KafkaBrokers::stop(int broker) { run({"stop", std::to_string(broker)}); }
void KafkaBrokers::kill(int broker) { run({"kill", std::to_string(broker)}); }
void KafkaBrokers::start(int broker) {
  run({"start", std::to_string(broker)});
  await_appends();
}

// A broker that hung is shut out by the controller, and takes a while to be let in again.
void KafkaBrokers::await_appends() {
  Admin admin(bootstrap_);
  char why[200];
  const auto name = fmt::format("settle-{}-{}", ::getpid(), std::time(nullptr));
  auto* topic = rd_kafka_NewTopic_new(name.c_str(), 1, -1, why, sizeof why);
  const auto deadline = std::time(nullptr) + 60;
  for (bool made = false; !made;) {  // each round waits for a broker's answer
    if (std::time(nullptr) > deadline) give_up("the brokers do not make topics");
    rd_kafka_CreateTopics(admin.handle(), &topic, 1, nullptr, admin.queue());
    std::size_t count = 0;
    const auto** results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(admin.answer()), &count);
    const auto err = count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
    made = !err || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
  }
  rd_kafka_NewTopic_destroy(topic);
  if (rd_kafka_producev(admin.handle(), RD_KAFKA_V_TOPIC(name.c_str()), RD_KAFKA_V_VALUE(why, 1),
                        RD_KAFKA_V_END)) {
    give_up("cannot append to " + name);
  }
  if (rd_kafka_flush(admin.handle(), 60'000)) give_up("the brokers do not take appends");
}

// ops/kafka's standard output; its progress goes to ours.
std::string KafkaBrokers::run(const std::vector<std::string>& words) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
  std::vector<std::string> all = {OPS_KAFKA, "--state", state_};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (auto& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, OPS_KAFKA, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failed) give_up(fmt::format("cannot run {}", OPS_KAFKA));
  std::string text;
  char buffer[500];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    give_up(fmt::format("{} {} failed; see above", OPS_KAFKA, words[0]));
  return text;
}

void KafkaBrokers::create_topic(const std::string& name, int partitions,
                                const std::map<std::string, std::string>& settings) {
  Admin admin(bootstrap_);
  char why[200];
  const auto replicas = settings.find("replicas");
  auto* topic = rd_kafka_NewTopic_new(name.c_str(), partitions,
                                      replicas == settings.end() ? -1 : std::stoi(replicas->second), why, sizeof why);
  for (const auto& [setting, value] : settings)
    if (setting != "replicas") rd_kafka_NewTopic_set_config(topic, setting.c_str(), value.c_str());
  rd_kafka_CreateTopics(admin.handle(), &topic, 1, nullptr, admin.queue());
  std::size_t count = 0;
  const auto** results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(admin.answer()), &count);
  rd_kafka_NewTopic_destroy(topic);
  if (count != 1 || rd_kafka_topic_result_error(results[0])) give_up("cannot make the topic " + name);
}

void KafkaBrokers::set(const std::string& topic, const std::map<std::string, std::string>& settings) {
  Admin admin(bootstrap_);
  auto* resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
  for (const auto& [setting, value] : settings)
    rd_kafka_ConfigResource_set_config(resource, setting.c_str(), value.c_str());
  rd_kafka_AlterConfigs(admin.handle(), &resource, 1, nullptr, admin.queue());
  std::size_t count = 0;
  const auto** results =
      rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(admin.answer()), &count);
  rd_kafka_ConfigResource_destroy(resource);
  if (count != 1 || rd_kafka_ConfigResource_error(results[0])) give_up("cannot configure the topic " + topic);
}

void KafkaBrokers::empty_topic(const std::string& name) {
  Admin admin(bootstrap_);
  auto* list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, name.c_str(), 0)->offset = RD_KAFKA_OFFSET_END;
  auto* request = rd_kafka_DeleteRecords_new(list);
  rd_kafka_DeleteRecords(admin.handle(), &request, 1, nullptr, admin.queue());
  const auto* result =
      rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(admin.answer()));
  const bool failed = result->cnt != 1 || result->elems[0].err;
  rd_kafka_DeleteRecords_destroy(request);
  rd_kafka_topic_partition_list_destroy(list);
  if (failed) give_up("cannot empty the topic " + name);
}

void KafkaBrokers::delete_topic(const std::string& name) {
  Admin admin(bootstrap_);
  auto* topic = rd_kafka_DeleteTopic_new(name.c_str());
  rd_kafka_DeleteTopics(admin.handle(), &topic, 1, nullptr, admin.queue());
  std::size_t count = 0;
  const auto** results =
      rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(admin.answer()), &count);
  rd_kafka_DeleteTopic_destroy(topic);
  if (count != 1 || rd_kafka_topic_result_error(results[0])) give_up("cannot delete the topic " + name);
}

int KafkaBrokers::leader_of(const std::string& topic) {
  Admin admin(bootstrap_);
  const rd_kafka_metadata_t* metadata = nullptr;
  if (rd_kafka_metadata(admin.handle(), 1, nullptr, &metadata, 30'000)) give_up("no metadata");
  int leader = -1;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    if (metadata->topics[i].topic == topic && metadata->topics[i].partition_cnt > 0)
      leader = metadata->topics[i].partitions[0].leader;
  }
  rd_kafka_metadata_destroy(metadata);
  return leader;
}

}  // namespace reprise::contract
