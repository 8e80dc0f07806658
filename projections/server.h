// Servers.
//
//            ServerCreated            ServerStarted
//   (none) ───────────────▶ BUILD ───────────────────▶ ACTIVE ◀──────────────┐
//                             │                        │    │ ServerStopped  │ ServerStarted
//                             │ ServerFailed           │    ▼                │
//                             ▼                        │   SHUTOFF ──────────┘
//                           ERROR ◀────────────────────┘ ServerFailed, ServerDiskGone (back: ServerDiskFound)
//
// ACTIVE ─ServerPaused─▶ PAUSED ─ServerResumed─▶ ACTIVE: what its node sees, not what is wished.
//
// Beside its status a server has a tenure on a node: none → placed → unplacing → none. What the node
// holds of it is handed over only when each agent there has confirmed that nothing is left:
//   compute (domain) first, then storage (boot disk) and network (ports).
// From a node that is fenced or dead it is evacuated with its disk, which others can read; what may be left there is a
// Leftover (node.h).
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

struct Server {
  using Key = ServerId;
  static constexpr std::uint8_t table = 13;
  static constexpr const char* table_name = "servers";
  enum Index : std::uint8_t { by_project = 0, by_node = 1, by_deadline = 2, by_image = 3 };

  ServerId id;
  Born born;
  ProjectId project;
  UserId user;
  std::string name;
  std::string description;
  std::string flavor;
  std::string flavor_name;
  std::uint32_t vcpus = 0;
  std::uint64_t ram_mib = 0;
  std::uint64_t disk_gib = 0;
  ImageId image;
  ImageId kernel;
  ImageId ramdisk;
  std::string kernel_arguments;
  std::string key_name;
  std::string public_key;
  std::vector<std::uint8_t> user_data_sealed;
  std::vector<std::uint8_t> admin_pass_sealed;  // that the client chose
  std::vector<std::string> metadata;
  std::string zone;                // wished; empty: any
  std::string host;                // wished node name; empty: any
  bool config_drive = false;
  std::string hostname;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  std::int64_t launched_ms = 0;

  ServerStatus status = ServerStatus::build;
  TaskState task = TaskState::none;
  std::int64_t deadline_ms = 0;    // by when the task's next step must have happened; 0: nothing is awaited
  std::string fault;               // why it is in ERROR, or why it takes so long
  std::int64_t fault_ms = 0;

  Tenure tenure = Tenure::none;
  NodeId node;                     // while tenure is not none
  std::uint32_t attempts = 0;      // how often it was placed
  bool retry = false;              // once vacated, place it again
  bool compute_released = false;
  bool disk_released = false;
  bool disk_ready = false;

  bool on = false;                 // power that is wanted
  Seq power_seq = 0;               // of the event that wished it so
  bool stop_hard = false;
  Seq reboot_seq = 0;              // of the event that last wished a reboot
  bool reboot_hard = false;
  Seq want_seq = 0;                // of the event that last changed what its node should do about it
  bool running = false;            // as last reported
  StopCause stop_cause = StopCause::none;
  bool disk_gone = false;          // its boot disk was there, and is not
  bool operator==(const Server&) const = default;

  // Its boot disk was ready once: it is never made again. (One that has run went nowhere without it.)
  bool disk_made() const { return disk_ready || launched_ms != 0; }

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "project", s.project), f(4, "user", s.user), f(5, "name", s.name);
    f(6, "description", s.description), f(7, "flavor", s.flavor), f(8, "flavor_name", s.flavor_name);
    f(9, "vcpus", s.vcpus), f(10, "ram_mib", s.ram_mib), f(11, "disk_gib", s.disk_gib), f(12, "image", s.image);
    f(13, "kernel", s.kernel), f(14, "ramdisk", s.ramdisk), f(15, "kernel_arguments", s.kernel_arguments);
    f(16, "key_name", s.key_name), f(17, "public_key", s.public_key), f(18, "user_data_sealed", s.user_data_sealed);
    f(19, "metadata", s.metadata), f(20, "zone", s.zone), f(21, "host", s.host), f(22, "config_drive", s.config_drive);
    f(23, "hostname", s.hostname), f(24, "created_ms", s.created_ms), f(25, "updated_ms", s.updated_ms);
    f(26, "launched_ms", s.launched_ms), f(27, "status", s.status), f(28, "task", s.task);
    f(29, "deadline_ms", s.deadline_ms), f(30, "fault", s.fault), f(31, "fault_ms", s.fault_ms), f(32, "tenure", s.tenure);
    f(33, "node", s.node), f(34, "attempts", s.attempts), f(35, "retry", s.retry);
    f(36, "compute_released", s.compute_released), f(37, "disk_released", s.disk_released), f(38, "disk_ready", s.disk_ready);
    f(39, "on", s.on), f(40, "power_seq", s.power_seq), f(41, "stop_hard", s.stop_hard), f(42, "reboot_seq", s.reboot_seq);
    f(43, "reboot_hard", s.reboot_hard), f(44, "want_seq", s.want_seq), f(45, "running", s.running);
    f(46, "stop_cause", s.stop_cause), f(47, "disk_gone", s.disk_gone), f(48, "admin_pass_sealed", s.admin_pass_sealed);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_project, KeyWriter().id(project));
    if (node) emit(by_node, KeyWriter().id(node));
    if (deadline_ms) emit(by_deadline, KeyWriter().time(deadline_ms));
    if (image) emit(by_image, KeyWriter().id(image));
  }
};

// It goes to another node of its storage pool: its disk stays where it is, and no node is asked to remove it. Who was asked to
// might do so when the next one has it already.
bool keeps_disk(const State& state, const Server& server);
// Nova's word: ACTIVE, REBOOT, …
const char* server_status_word(const Server& server);
// Nova's word: spawning, powering-on, …; empty: none.
const char* task_state_word(TaskState task);

struct ActionKey {
  ServerId server;
  Born born;
  auto operator<=>(const ActionKey&) const = default;
};
inline std::string encode_key(const ActionKey& key) {
  return KeyWriter().id(key.server).number(key.born.seq).number(key.born.index);
}
inline void decode_key(std::string_view bytes, ActionKey& key) {
  KeyReader in(bytes);
  in.id(key.server);
  key.born.seq = in.number();
  key.born.index = static_cast<std::uint32_t>(in.number());
}
constexpr std::size_t encoded_key_size(const ActionKey&) { return 32; }

// What was asked of a server (nova's os-instance-actions): the newest, as long as the server is. Those before are in the
// history alone.
inline constexpr std::size_t actions_kept_max = 64;
struct InstanceAction {
  using Key = ActionKey;
  static constexpr std::uint8_t table = 14;
  static constexpr const char* table_name = "instance_actions";
  enum Index : std::uint8_t { by_server = 0, open_by_server = 1 };

  ActionKey id;
  std::string action;
  std::string request_id;
  UserId user;
  ProjectId project;
  std::int64_t start_ms = 0;
  std::int64_t finish_ms = 0;      // 0: still going on
  std::string message;             // why it failed
  bool operator==(const InstanceAction&) const = default;

  Key key() const { return id; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "server", s.id.server), f(2, "born", s.id.born), f(3, "action", s.action), f(4, "request_id", s.request_id);
    f(5, "user", s.user), f(6, "project", s.project), f(7, "start_ms", s.start_ms), f(8, "finish_ms", s.finish_ms);
    f(9, "message", s.message);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_server, KeyWriter().id(id.server));
    if (!finish_ms) emit(open_by_server, KeyWriter().id(id.server));
  }
};

namespace server {
void created(State&, const ServerCreated&, const Meta&);
void placed(State&, const ServerPlaced&, const Meta&);
void unplaced(State&, const ServerUnplaced&, const Meta&);
void released(State&, const ServerReleased&, const Meta&);
void vacated(State&, const ServerVacated&, const Meta&);
void evacuated(State&, const ServerEvacuated&, const Meta&);
void disk_ready(State&, const ServerDiskReady&, const Meta&);
void disk_gone(State&, const ServerDiskGone&, const Meta&);
void disk_found(State&, const ServerDiskFound&, const Meta&);
void paused(State&, const ServerPaused&, const Meta&);
void resumed(State&, const ServerResumed&, const Meta&);
void started(State&, const ServerStarted&, const Meta&);
void stopped(State&, const ServerStopped&, const Meta&);
void rebooted(State&, const ServerRebooted&, const Meta&);
void failed(State&, const ServerFailed&, const Meta&);
void troubled(State&, const ServerTroubled&, const Meta&);
void overdue(State&, const ServerOverdue&, const Meta&);
void updated(State&, const ServerUpdated&, const Meta&);
void deleting(State&, const ServerDeleting&, const Meta&);
void deleted(State&, const ServerDeleted&, const Meta&);
void starting(State&, const ServerStarting&, const Meta&);
void stopping(State&, const ServerStopping&, const Meta&);
void stop_forced(State&, const ServerStopForced&, const Meta&);
void rebooting(State&, const ServerRebooting&, const Meta&);
}  // namespace server

}  // namespace reprise
