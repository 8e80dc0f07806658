// The frame that every operation of every service runs in. A resource registers what it answers; the frame
// does the rest:
//
//   token → actor, rights           401, 403 in the service's format
//   rate limit of the project       429 (writes)
//   X-Reprise-Intent                the first answer again; another body: 409 (writes)
//   a fresh view, or that of /at/…  X-Reprise-Stale: true when the log does not answer; 404, 400: no such moment;
//                                   410: cut since; X-Reprise-Seq: of the past that was shown
//   the handler                     a Response, a Change or Later (ask.h)
//   a Change: intent, decision      its refusal as a status (refusals.h); 503 not done, 504 unknown
//   then()                          on a view that shows the decision
//
// Nothing of it blocks an I/O thread: what is not ready at once goes on on a worker.
#pragma once

#include <memory>
#include <string>

#include "controlplane/api/ask.h"
#include "controlplane/api/backend.h"
#include "controlplane/api/metrics.h"
#include "controlplane/api/password.h"
#include "controlplane/api/rate_limit.h"
#include "controlplane/api/worker_pool.h"

namespace reprise::api {

// What a token must bring.
enum class Need : std::uint8_t {
  nothing,  // no token
  token,    // any valid one, also without a project
  reader,
  member,
  admin,
};

struct ApiConfig {
  std::string region = "RegionOne";
  std::string public_url;  // "http://cloud.example.org:8700"; empty: the address at which the client reached this server
  std::string image_dir;   // where uploaded images lie, each under its id
  std::uint64_t image_bytes_max = 256ull << 30;
  std::uint64_t image_reserve_bytes = 0;  // of the file system of image_dir: uploads leave it free
  std::int64_t window_ms = 30'000;  // an intent not decided by then is not done
  std::int64_t token_lifetime_ms = 12 * 3'600'000;
};

class Api {
 public:
  struct Parts {
    Router* router = nullptr;
    Backend* backend = nullptr;
    Keyring* keyring = nullptr;
    PasswordPool* passwords = nullptr;
    RateLimit* rate = nullptr;
    WorkerPool* workers = nullptr;  // for what waits for the log and then answers
    Metrics* metrics = nullptr;
  };
  // Parts outlive it, and it outlives the HTTP server.
  Api(Parts parts, ApiConfig config);
  ~Api();  // ends its parts' threads: what they run refers to it

  // GET and HEAD, now and under /at/.
  void read(Service service, std::string_view pattern, Need need, Handle handle);
  // Everything that is not a GET, in the present.
  void write(Service service, Method method, std::string_view pattern, Need need, Handle handle,
             BodyPlan body = {});
  // A GET of what was never in the log (image bytes, metrics): under /at/ it is 501.
  void read_now(Service service, std::string_view pattern, Need need, Handle handle);

  // Called with every record that is folded, until the end of this: for what lies outside of the log and follows it.
  // On the projection's thread: must not block.
  void follow(std::function<void(const Folded&)> follower);

  const ApiConfig& config() const { return config_; }
  Router& router() const { return *parts_.router; }
  Backend& backend() const { return *parts_.backend; }
  Keyring& keyring() const { return *parts_.keyring; }
  PasswordPool& passwords() const { return *parts_.passwords; }
  WorkerPool& workers() const { return *parts_.workers; }
  Metrics& metrics() const { return *parts_.metrics; }
  RateLimit& rate() const { return *parts_.rate; }
  Standings& standings() const { return standings_; }

 private:
  friend class Exchange;
  const Parts parts_;
  const ApiConfig config_;
  std::vector<Projection::WatchId> followers_;
  mutable Standings standings_;  // locks by itself
};

// A Later that runs on the workers' slow lane, for the actor's project: 503 when too many wait already.
Plan on_worker(Api& api, std::function<Plan(Ask&)> work);

// Each registers one resource's routes. One line per file, here and in register_all.cc.
void register_identity(Api& api);
void register_network(Api& api);
void register_own(Api& api);      // /, /events, /healthz, /metrics
void register_log(Api& api);      // /log/seal
void register_control(Api& api);  // these four
void register_all(Api& api);      // and compute, image, volume

}  // namespace reprise::api
