// The frame that every operation runs in: who may, the same request again, undecided ones, the past, /events.
#include <fmt/format.h>

#include <atomic>

#include "projections/fetch.h"
#include "tests/unit/api_rig.h"

namespace reprise::api {
namespace {

const std::string networks = "/network/v2.0/networks";

// A log whose appends and end can be made to fail.
class FailingLog final : public Log {
 public:
  enum class Fail { nothing, drop_unknown, refuse_once, take_nothing };
  explicit FailingLog(Log& log) : log_(log) {}

  std::atomic<Fail> fail{Fail::nothing};
  std::atomic<bool> unreachable{false};
  std::atomic<int> opened{0};

  Result<std::unique_ptr<Producer>> open_producer() override {
    auto producer = log_.open_producer();
    if (!producer) return producer.error();
    ++opened;
    return std::unique_ptr<Producer>(std::make_unique<FailingProducer>(*this, std::move(*producer)));
  }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    return log_.open_reader(topic, offset, std::move(wake));
  }
  void end(Topic topic, Answer answer) override {
    if (unreachable) return answer(Error{Errc::unreachable, "no broker answers"});
    log_.end(topic, std::move(answer));
  }
  Result<std::int64_t> begin(Topic topic) override { return log_.begin(topic); }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    return log_.stand(std::move(wake));
  }
  std::string place() const override { return log_.place(); }

 private:
  class FailingProducer final : public Producer {
   public:
    FailingProducer(FailingLog& owner, std::unique_ptr<Producer> producer)
        : owner_(owner), producer_(std::move(producer)) {}
    void append(Topic topic, Bytes bytes, Done done) override {
      const auto fail = owner_.fail.load();
      if (fail != Fail::take_nothing) owner_.fail = Fail::nothing;
      switch (fail) {
        case Fail::nothing:
          return producer_->append(topic, std::move(bytes), std::move(done));
        case Fail::drop_unknown:
          return done(Error{Errc::timed_out, "no ack"});
        case Fail::refuse_once:
          return done(Error{Errc::session_broken, "an earlier append failed"});
        case Fail::take_nothing:  // as brokers below min.insync: nobody knows, and the session is over
          return done(Error{Errc::timed_out, "no ack"});
      }
    }

   private:
    FailingLog& owner_;
    std::unique_ptr<Producer> producer_;
  };
  Log& log_;
};

ApiRig::Options failing(FailingLog*& log, std::int64_t window_ms) {
  return {.window_ms = window_ms, .late_ms = 5'000, .between = [&log](Log& real) -> std::unique_ptr<Log> {
            auto between = std::make_unique<FailingLog>(real);
            log = between.get();
            return between;
          }};
}

std::string network_body(const std::string& name) {
  return fmt::format(R"({{"network":{{"name":"{}"}}}})", name);
}

std::vector<boost::json::object> lines_of(const std::string& text) {
  std::vector<boost::json::object> lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at);
    REQUIRE(end != text.npos);
    lines.push_back(boost::json::parse(text.substr(at, end - at)).as_object());
    at = end + 1;
  }
  return lines;
}

}  // namespace

TEST_CASE("Who brings no good token gets 401, in the service's format", "[service]") {
  ApiRig rig;
  const auto none = rig.ask("GET", networks, "", {{"X-Auth-Token", ""}});
  CHECK(none.status() == 401);
  CHECK(none.text("NeutronError.type") == "HTTPUnauthorized");
  CHECK(none.header("WWW-Authenticate") == "Keystone uri=\"http://cloud:8700/identity\"");
  auto forged = rig.admin_token;
  forged[forged.size() / 2] = forged[forged.size() / 2] == 'A' ? 'B' : 'A';
  CHECK(rig.ask("GET", networks, "", {{"X-Auth-Token", forged}}).status() == 401);
  CHECK(rig.ask("GET", networks, "", {{"X-Auth-Token", "nonsense"}}).status() == 401);

  TokenClaims claims{.user = rig.genesis.user,
                     .project = rig.genesis.project,
                     .issued_ms = 1,
                     .expires_ms = static_cast<std::uint64_t>(wall_ms()) - 1,
                     .audit = random_id()};
  const auto expired = rig.ask("GET", networks, "", {{"X-Auth-Token", make_token(*rig.keyring, claims)}});
  CHECK(expired.status() == 401);
  CHECK(expired.text("NeutronError.message").find("expired") != std::string::npos);

  const auto token = rig.token("admin", "secret", "admin");
  CHECK(rig.ask("GET", networks, "", {{"X-Auth-Token", token}}).status() == 200);
  REQUIRE(rig.ask("DELETE", "/identity/v3/auth/tokens", "",
                  {{"X-Auth-Token", rig.admin_token}, {"X-Subject-Token", token}})
              .status() == 204);
  CHECK(rig.ask("GET", networks, "", {{"X-Auth-Token", token}}).status() == 401);
}

TEST_CASE("What a role does not allow is 403, what is another project's 404", "[service]") {
  ApiRig rig;
  const auto reader = rig.add_project("readers", "reader");
  const auto member = rig.add_project("members", "member");
  CHECK(rig.ask("GET", networks, "", {{"X-Auth-Token", reader}}).status() == 200);
  const auto refused = rig.ask("POST", networks, network_body("n"), {{"X-Auth-Token", reader}});
  CHECK(refused.status() == 403);
  CHECK(refused.text("NeutronError.message").find("role member") != std::string::npos);
  CHECK(rig.ask("GET", "/identity/v3/users", "", {{"X-Auth-Token", member}}).status() == 403);

  const auto mine = rig.ask("POST", networks, network_body("n"), {{"X-Auth-Token", member}});
  REQUIRE(mine.status() == 201);
  const auto path = networks + "/" + mine.text("network.id");
  CHECK(rig.ask("GET", path, "", {{"X-Auth-Token", member}}).status() == 200);
  CHECK(rig.ask("GET", path).status() == 200);
  for (const char* method : {"GET", "DELETE"}) {
    const auto hidden =
        rig.ask(method, path, "", {{"X-Auth-Token", rig.add_project(fmt::format("others{}", method))}});
    CHECK(hidden.status() == 404);
    CHECK(hidden.text("NeutronError.type") == "NetworkNotFound");
  }
}

TEST_CASE("Every mistake of a body is named in one answer, and nothing was done", "[service]") {
  ApiRig rig;
  REQUIRE(rig.ask("POST", networks, network_body("first")).status() == 201);  // the controller's claim is folded
  const auto before = rig.projection->head().seq;
  const auto bad =
      rig.ask("POST", networks, R"({"network":{"name":7,"mtu":"big","colour":"red"},"extra":1})");
  CHECK(bad.status() == 400);
  const auto text = bad.text("NeutronError.message");
  for (const char* part : {"network.name", "network.mtu", "network.colour", "extra"})
    CHECK(text.find(part) != text.npos);
  CHECK(rig.ask("POST", networks, "{").status() == 400);
  CHECK(rig.ask("POST", networks, "[]").status() == 400);
  CHECK(rig.ask("POST", networks, "").status() == 400);
  CHECK(rig.projection->head().seq == before);
}

TEST_CASE("The same X-Reprise-Intent gives the first answer again, whatever happened since", "[service]") {
  ApiRig rig;
  const Headers key{{"X-Reprise-Intent", "one"}};
  const auto first = rig.ask("POST", networks, network_body("n"), key);
  REQUIRE(first.status() == 201);
  CHECK(first.header("X-Reprise-Replayed").empty());
  const auto path = networks + "/" + first.text("network.id");
  REQUIRE(rig.ask("PUT", path, network_body("renamed")).status() == 200);
  const auto again = rig.ask("POST", networks, network_body("n"), key);
  CHECK(again.status() == 201);
  CHECK(again.body() == first.body());
  CHECK(again.header("X-Reprise-Replayed") == "true");

  const Headers gone{{"X-Reprise-Intent", "two"}};
  REQUIRE(rig.ask("DELETE", path, "", gone).status() == 204);
  CHECK(rig.ask("DELETE", path, "", gone).status() == 204);
  CHECK(rig.ask("DELETE", path).status() == 404);
  CHECK(rig.ask("POST", networks, network_body("n"), key).body() == first.body());
  CHECK(rig.ask("GET", networks).size("networks") == 0);

  const auto other = rig.ask("POST", networks, network_body("other"), key);
  CHECK(other.status() == 409);
  CHECK(rig.ask("POST", networks, network_body("n"), {{"X-Reprise-Intent", "a b"}}).status() == 400);
}

TEST_CASE("A refusal is repeated under its key, even when it would succeed now", "[service]") {
  ApiRig rig;
  const std::string user = R"({"user":{"name":"eve","password":"secret"}})";
  const auto eve = rig.ask("POST", "/identity/v3/users", user);
  REQUIRE(eve.status() == 201);
  const Headers key{{"X-Reprise-Intent", "u"}};
  const auto refused = rig.ask("POST", "/identity/v3/users", user, key);
  CHECK(refused.status() == 409);
  REQUIRE(rig.ask("DELETE", "/identity/v3/users/" + eve.text("user.id")).status() == 204);
  const auto again = rig.ask("POST", "/identity/v3/users", user, key);
  CHECK(again.status() == 409);
  CHECK(again.body() == refused.body());
}

TEST_CASE("Twice at once under one key is once", "[service]") {
  ApiRig rig;
  std::vector<std::future<Response>> answers;
  for (int i = 0; i < 8; ++i)
    answers.push_back(rig.send("POST", networks, network_body("n"), {{"X-Reprise-Intent", "k"}}));
  std::string id;
  for (auto& answer : answers) {
    const auto one = rig.wait(std::move(answer));
    REQUIRE(one.status() == 201);
    if (id.empty()) id = one.text("network.id");
    CHECK(one.text("network.id") == id);
  }
  CHECK(rig.ask("GET", networks).size("networks") == 1);
}

TEST_CASE("An intent that was lost is 503 once log time proves it, and its key is free", "[service]") {
  FailingLog* log = nullptr;
  ApiRig rig(failing(log, 200));
  log->fail = FailingLog::Fail::drop_unknown;
  const auto lost = rig.ask("POST", networks, network_body("n"), {{"X-Reprise-Intent", "k"}});
  CHECK(lost.status() == 503);
  CHECK(lost.header("Retry-After") == "1");
  CHECK(lost.text("NeutronError.message").find("was not done") != std::string::npos);
  CHECK(rig.ask("GET", networks).size("networks") == 0);
  CHECK(rig.ask("POST", networks, network_body("n"), {{"X-Reprise-Intent", "k"}}).status() == 201);
}

TEST_CASE("An intent that was surely not written is sent again on a new session", "[service]") {
  FailingLog* log = nullptr;
  ApiRig rig(failing(log, 30'000));
  REQUIRE(rig.ask("POST", networks, network_body("a")).status() == 201);
  const int opened = log->opened;
  log->fail = FailingLog::Fail::refuse_once;
  CHECK(rig.ask("POST", networks, network_body("b")).status() == 201);
  CHECK(log->opened == opened + 1);
  CHECK(rig.ask("GET", networks).size("networks") == 2);
}

TEST_CASE("While the log takes nothing, what it was never given is 503 in time; then it goes on", "[service]") {
  FailingLog* log = nullptr;
  auto options = failing(log, 500);
  options.late_ms = 0;
  ApiRig rig(std::move(options));
  log->fail = FailingLog::Fail::take_nothing;
  CHECK(rig.ask("POST", networks, network_body("first")).status() == 504);  // of this one nobody knows
  std::vector<std::future<Response>> later;
  for (int i = 0; i < 3; ++i) later.push_back(rig.send("POST", networks, network_body(fmt::format("later-{}", i))));
  for (auto& one : later) {
    const auto answer = rig.wait(std::move(one));
    CHECK(answer.status() == 503);
    CHECK_FALSE(answer.header("Retry-After").empty());
    CHECK(answer.text("NeutronError.message").find("not written") != std::string::npos);
  }
  CHECK(rig.ask("GET", networks).status() == 200);
  log->fail = FailingLog::Fail::nothing;
  CHECK(rig.ask("POST", networks, network_body("after")).status() == 201);
  CHECK(rig.ask("GET", networks + "?name=later-0").size("networks") == 0);
}

TEST_CASE("Without a controller an intent is 504, and may yet be done", "[service]") {
  ApiRig rig(ApiRig::Options{.window_ms = 100, .late_ms = 100});
  rig.stop_controller();
  const auto unknown = rig.ask("POST", networks, network_body("n"), {{"X-Reprise-Intent", "k"}});
  CHECK(unknown.status() == 504);
  CHECK(unknown.text("NeutronError.message").find("not known") != std::string::npos);
  rig.start_controller();
  // Decided as expired when a controller came: not done, not kept under the key.
  CHECK(rig.ask("POST", networks, network_body("n"), {{"X-Reprise-Intent", "k"}}).status() == 201);
  CHECK(rig.ask("GET", networks).size("networks") == 1);
}

TEST_CASE("Once it is known that nobody leads, changes are not written, and 503 within their window", "[service]") {
  ApiRig rig(ApiRig::Options{.window_ms = 300, .late_ms = 100});
  rig.stop_controller();
  CHECK(rig.ask("POST", networks, network_body("first")).status() == 504);
  std::vector<std::future<Response>> later;
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) later.push_back(rig.send("POST", networks, network_body(fmt::format("later-{}", i))));
  for (auto& one : later) {
    const auto answer = rig.wait(std::move(one));
    CHECK(answer.status() == 503);
    CHECK(answer.text("NeutronError.message").find("nobody leads") != std::string::npos);
  }
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(20));
  rig.start_controller();
  CHECK(rig.ask("POST", networks, network_body("after")).status() != 504);
  CHECK(rig.ask("POST", networks, network_body("again")).status() == 201);
  CHECK(rig.ask("GET", networks + "?name=later-0").size("networks") == 0);
}

TEST_CASE("A sealed log: changes are told where the cloud went, reads are stale", "[service]") {
  ApiRig rig;
  REQUIRE(rig.ask("POST", networks, R"({"network":{"name":"before"}})").status() == 201);
  const std::string ours = rig.projection->head().log.str(), to = "00000000-0000-4000-8000-000000000007";
  const auto seal = [&](const std::string& log, const Headers& headers = {}) {
    return rig.ask("POST", "/log/seal", fmt::format(R"({{"log":"{}","to":"{}","place":"kafka:there/cloud"}})", log, to), headers);
  };
  CHECK(seal(to).status() == 409);  // another log's server
  CHECK(seal(ours, {{"X-Auth-Token", rig.add_project("somebody")}}).status() == 403);
  CHECK(rig.ask("POST", "/log/seal", fmt::format(R"({{"log":"{}","to":"{}"}})", ours, to)).status() == 400);
  const auto sealed = seal(ours);
  REQUIRE(sealed.status() == 200);
  CHECK(sealed.text("seq") == std::to_string(rig.projection->head().seq));
  const auto late = rig.ask("POST", networks, R"({"network":{"name":"after"}})");
  CHECK(late.status() == 503);
  CHECK(late.text("NeutronError.message").find("the cloud went to kafka:there/cloud") != std::string::npos);
  const auto read = rig.ask("GET", networks);
  CHECK(read.status() == 200);
  CHECK(read.size("networks") == 1);
  CHECK(read.header("X-Reprise-Stale") == "true");
  CHECK(!rig.token("admin", rig.genesis.password, "admin").empty());
}

TEST_CASE("A change that is under way when the log is sealed is 504, with the new place", "[service]") {
  ApiRig rig;
  rig.stop_controller();
  Intent seal{.id = random_id().as<IntentId>(), .sent_ms = wall_ms(), .expires_ms = wall_ms() + 60'000};
  seal.set(SealLog{.to = LogId{1, 7}, .place = "kafka:there/cloud"});
  const auto end = *rig.log->end_here(Topic::intents);
  const auto producer = *rig.log->open_producer();
  producer->append(Topic::intents, encode(seal), [](const Result<std::int64_t>&) {});
  REQUIRE(fetch(*rig.log, Topic::intents, end, 1, std::chrono::seconds(10)).ok());
  auto waiting = rig.send("POST", networks, network_body("behind the seal"));
  REQUIRE(fetch(*rig.log, Topic::intents, end + 1, 1, std::chrono::seconds(10)).ok());  // it is under way
  rig.start_controller();
  const auto answer = rig.wait(std::move(waiting));
  CHECK(answer.status() == 504);
  CHECK(answer.text("NeutronError.message").find("the cloud went to kafka:there/cloud") != std::string::npos);
}

TEST_CASE("With the log unreachable reads are answered, and say that they are stale", "[service]") {
  FailingLog* log = nullptr;
  ApiRig rig(failing(log, 30'000));
  REQUIRE(rig.ask("POST", networks, network_body("n")).status() == 201);
  log->unreachable = true;
  const auto stale = rig.ask("GET", networks);
  CHECK(stale.status() == 200);
  CHECK(stale.size("networks") == 1);
  CHECK(stale.header("X-Reprise-Stale") == "true");
  // What is not there may have come meanwhile.
  const auto gone = rig.ask("DELETE", std::string(networks) + "/00000000-0000-4000-8000-000000000001");
  CHECK(gone.status() == 503);
  CHECK(!gone.header("Retry-After").empty());
  log->unreachable = false;
  CHECK(rig.ask("DELETE", std::string(networks) + "/00000000-0000-4000-8000-000000000001").status() == 404);
  CHECK(rig.ask("GET", networks).header("X-Reprise-Stale").empty());
}

TEST_CASE("Too many changes of one project are 429, another's go on", "[service]") {
  ApiRig rig(ApiRig::Options{.rate = {.per_second = 0.001, .burst = 8}});
  const auto other = rig.add_project("other");
  int refused = 0;
  for (int i = 0; i < 10; ++i) {
    const auto answer = rig.ask("POST", networks, network_body("n"));
    if (answer.status() != 429) continue;
    ++refused;
    CHECK_FALSE(answer.header("Retry-After").empty());
  }
  CHECK(refused >= 2);
  CHECK(rig.ask("GET", networks).status() == 200);
  CHECK(rig.ask("POST", networks, network_body("n"), {{"X-Auth-Token", other}}).status() == 201);
}

TEST_CASE("/at/ shows the past of everything, and changes nothing", "[service]") {
  ApiRig rig;
  const auto made = rig.ask("POST", networks, network_body("then"));
  const auto seq = rig.projection->head().seq;
  const auto path = networks + "/" + made.text("network.id");
  // The log's time is in ms, and not the wall's: what happened in one and the same is not told apart by it.
  for (int other = 0; rig.projection->view_at(rig.projection->head().seq)->at_ms() <= rig.projection->view_at(seq)->at_ms(); ++other)
    REQUIRE(rig.ask("POST", networks, network_body("other" + std::to_string(other))).status() == 201);
  REQUIRE(rig.ask("PUT", path, network_body("now")).status() == 200);
  const auto then = fmt::format("/at/{}", seq);
  CHECK(rig.ask("GET", then + path).text("network.name") == "then");
  CHECK(rig.ask("GET", path).text("network.name") == "now");
  CHECK(rig.ask("GET", "/at/1" + path).status() == 404);
  const auto time = time_micros_z(static_cast<std::uint64_t>(rig.projection->view_at(seq)->at_ms()));
  CHECK(rig.ask("GET", "/at/" + time + path).text("network.name") == "then");

  CHECK(rig.ask("GET", "/at/999999" + path).status() == 404);
  CHECK(rig.ask("GET", "/at/0" + path).status() == 404);
  CHECK(rig.ask("GET", "/at/1999-01-01T00:00:00Z" + path).status() == 404);
  CHECK(rig.ask("GET", "/at/2999-01-01T00:00:00Z" + path).status() == 400);
  CHECK(rig.ask("DELETE", then + path).status() == 405);

  const auto ask_token = [&](const std::string& at) {
    return rig.ask(
        "POST", at + "/identity/v3/auth/tokens",
        R"({"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin",)"
        R"("domain":{"id":"default"},"password":"secret"}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}})",
        {{"X-Auth-Token", ""}});
  };
  const auto token = ask_token(then);
  REQUIRE(token.status() == 201);
  CHECK(token.text("token.catalog.0.endpoints.0.url") == "http://cloud:8700" + then + "/identity");
  // for a moment that never was there is none: a client learns it with its first request
  CHECK(ask_token("/at/999999").status() == 404);
  CHECK(ask_token("/at/2999-01-01T00:00:00Z").status() == 400);
}

TEST_CASE("/at/ says which record it showed, and what there is instead of what is not there", "[service]") {
  ApiRig rig;
  REQUIRE(rig.ask("POST", networks, network_body("then")).status() == 201);
  auto seq = rig.projection->head().seq;
  const auto time_of = [&](Seq at) { return rig.projection->view_at(at)->at_ms(); };
  const auto text = [](std::int64_t ms) { return time_micros_z(static_cast<std::uint64_t>(ms)); };
  // The last record of its millisecond: log time is not the wall's.
  for (int later = 0;; ++later) {
    REQUIRE(rig.ask("POST", networks, network_body("later" + std::to_string(later))).status() == 201);
    const auto next = rig.projection->head().seq;
    if (time_of(next) > time_of(seq)) break;
    seq = next;
  }

  const auto shown = [&](const std::string& at) {
    return rig.ask("GET", "/at/" + at + networks).header("X-Reprise-Seq");
  };
  CHECK(shown(std::to_string(seq)) == std::to_string(seq));
  CHECK(shown(text(time_of(seq))) == std::to_string(seq));
  CHECK(shown(text(time_of(seq + 1) - 1)) == std::to_string(seq));  // between two records: the one before
  CHECK(rig.ask("GET", networks).header("X-Reprise-Seq").empty());

  const auto refused = [&](const std::string& at) {
    return rig.ask("GET", "/at/" + at + networks).text("NeutronError.message");
  };
  const auto newest = fmt::format("the newest is seq {} of {}.", rig.projection->head().seq,
                                  text(time_of(rig.projection->head().seq)));
  CHECK(refused("999999") == "Seq 999999 is not there yet: " + newest);
  CHECK(refused("2999-01-01T00:00:00Z").starts_with("2999-01-01T00:00:00.000000Z lies in the future: the newest"));
  CHECK(refused("1999-01-01T00:00:00Z").ends_with("it begins with seq 1 of " + text(time_of(1)) + "."));
  CHECK(refused("yesterday").starts_with("'yesterday' after /at/ is neither a seq nor an RFC 3339 time"));

  // what only a running process knows
  for (const char* path : {"/metrics", "/healthz"}) {
    CHECK(rig.ask("GET", "/at/1" + std::string(path)).status() == 501);
    CHECK(rig.ask("GET", path).status() == 200);
  }
}

TEST_CASE("/events has everything once, goes on where it was, and shows each only what is its own",
          "[service]") {
  ApiRig rig;
  const auto member = rig.add_project("members");
  rig.ask("POST", networks, network_body("a"),
          {{"X-Auth-Token", member}, {"X-Openstack-Request-Id", "req-00000000-0000-4000-8000-000000000001"}});
  rig.ask("POST", networks, network_body("hidden"));

  const auto whole = rig.ask("GET", "/events?follow=false");
  REQUIRE(whole.status() == 200);
  const auto all = lines_of(read_all(*whole.response.lines));
  std::int64_t seq = 0, index = -1;
  bool asked = false;
  for (const auto& line : all) {
    const auto s = line.at("seq").to_number<std::int64_t>(), i = line.at("index").to_number<std::int64_t>();
    CHECK((s > seq ? i == 0 : s == seq && i == index + 1));
    seq = s, index = i;
    const auto* intent = line.if_contains("intent");
    const auto* global = intent ? intent->as_object().if_contains("global_request_id") : nullptr;
    asked = asked || (global && *global == "req-00000000-0000-4000-8000-000000000001" && intent->at("request_id") != *global);
  }
  CHECK(asked);
  CHECK(seq == static_cast<std::int64_t>(rig.projection->head().seq));

  // Cut off after any line: the rest is exactly what was missing.
  const auto cut = all.size() / 2;
  const auto from =
      fmt::format("/events?follow=false&from={}.{}", all[cut].at("seq").to_number<std::int64_t>(),
                  all[cut].at("index").to_number<std::int64_t>());
  const auto rest = lines_of(read_all(*rig.ask("GET", from).response.lines));
  REQUIRE(rest.size() == all.size() - cut);
  CHECK(rest.front() == all[cut]);

  const auto mine = lines_of(
      read_all(*rig.ask("GET", "/events?follow=false", "", {{"X-Auth-Token", member}}).response.lines));
  REQUIRE(mine.size() == 1);
  CHECK(mine[0].at("event").at("type") == "NetworkCreated");
  CHECK(mine[0].at("event").at("name") == "a");

  CHECK(lines_of(read_all(*rig.ask("GET", "/at/1/events").response.lines)).back().at("seq") == 1);
  CHECK(rig.ask("GET", "/events?from=nonsense").status() == 400);
  CHECK(rig.ask("GET", "/events?from=99999").status() == 400);
  CHECK(rig.ask("GET", "/events", "", {{"X-Auth-Token", ""}}).status() == 401);
}

TEST_CASE("/events follows what happens", "[service]") {
  ApiRig rig;
  REQUIRE(rig.ask("POST", networks, network_body("first")).status() ==
          201);  // the controller's claim is behind it
  const auto stream = rig.ask("GET", fmt::format("/events?from={}", rig.projection->head().seq + 1));
  REQUIRE(stream.status() == 200);
  for (int i = 0; i < 3; ++i) {
    std::promise<std::string> piece;
    stream.response.lines->next([&](std::string lines, bool end) {
      CHECK_FALSE(end);
      piece.set_value(std::move(lines));
    });
    auto answer = piece.get_future();
    REQUIRE(rig.ask("POST", networks, network_body(fmt::format("n{}", i))).status() == 201);
    REQUIRE(answer.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
    const auto lines = lines_of(answer.get());
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].at("event").at("name") == fmt::format("n{}", i).c_str());
  }
  stream.response.lines->gone();
}

TEST_CASE("/healthz, /metrics and / need no token", "[service]") {
  ApiRig rig;
  CHECK(rig.ask("GET", "/healthz", "", {{"X-Auth-Token", ""}}).text("status") == "ok");
  CHECK(rig.ask("GET", "/", "", {{"X-Auth-Token", ""}}).text("name") == "reprise");
  rig.ask("GET", networks);
  rig.ask("POST", networks, network_body("n"));
  const auto metrics = rig.ask("GET", "/metrics", "", {{"X-Auth-Token", ""}}).body();
  for (const char* part :
       {"reprise_requests_total{service=\"network\",status=\"200\"}",
        "reprise_projection{value=\"head_seq\"}", "reprise_decision_seconds_count{outcome=\"done\"}"})
    CHECK(metrics.find(part) != metrics.npos);
}

}  // namespace reprise::api
