#include "projections/server.h"

#include "projections/state.h"

namespace reprise {

bool keeps_disk(const State& state, const Server& server) {
  const Node* node = state.nodes.find(server.node);
  return server.tenure == Tenure::unplacing && server.retry && node && !node->storage_pool.empty();
}

const char* server_status_word(const Server& server) {
  switch (server.status) {
    case ServerStatus::build:
      return "BUILD";
    case ServerStatus::shutoff:
      return "SHUTOFF";
    case ServerStatus::error:
      return "ERROR";
    case ServerStatus::paused:
      return server.task == TaskState::rebooting_hard ? "HARD_REBOOT" : "PAUSED";
    case ServerStatus::active:
      break;
  }
  if (server.task == TaskState::rebooting) return "REBOOT";
  if (server.task == TaskState::rebuilding) return "REBUILD";
  return server.task == TaskState::rebooting_hard ? "HARD_REBOOT" : "ACTIVE";
}

const char* task_state_word(TaskState task) {
  switch (task) {
    case TaskState::none:
      return "";
    case TaskState::spawning:
      return "spawning";
    case TaskState::powering_on:
      return "powering-on";
    case TaskState::powering_off:
      return "powering-off";
    case TaskState::rebooting:
      return "rebooting";
    case TaskState::rebooting_hard:
      return "rebooting_hard";
    case TaskState::deleting:
      return "deleting";
    case TaskState::rebuilding:
      return "rebuilding";
  }
  return "?";
}

}  // namespace reprise

namespace reprise::server {
namespace {

// Of those that have ended.
void forget_oldest_actions(State& s, ServerId id) {
  std::size_t kept = 0;
  std::optional<ActionKey> oldest;
  s.instance_actions.each_by(InstanceAction::by_server, encode_key(id), [&](const InstanceAction& row) {
    ++kept;
    if (!oldest && row.finish_ms) oldest = row.id;
    return true;
  });
  if (kept >= actions_kept_max && oldest) s.instance_actions.erase(*oldest);
}

// nova's os-instance-actions: begun by the client's intent, finished by the event that ends its task.
void begin_action(State& s, ServerId id, const char* action, const Meta& m) {
  if (!m.intent) return;
  if (s.the_cloud().level >= level::counts_apart) forget_oldest_actions(s, id);
  s.instance_actions.insert({.id = {id, m.born}, .action = action, .request_id = m.intent->request_id,
                             .user = m.intent->user, .project = m.intent->project, .start_ms = m.at_ms});
}

void finish_actions(State& s, ServerId id, const std::string& message, const Meta& m) {
  std::vector<ActionKey> open;
  s.instance_actions.each_by(InstanceAction::open_by_server, encode_key(id), [&](const InstanceAction& row) {
    open.push_back(row.id);
    return true;
  });
  for (const auto& key : open) {
    InstanceAction& action = s.instance_actions.edit(key);
    action.finish_ms = m.at_ms;
    action.message = message;
  }
}

void settle_task(Server& server, const Meta& m) {
  server.task = TaskState::none;
  server.deadline_ms = 0;
  server.updated_ms = m.at_ms;
}

// One whose disk is gone is in error for as long as that is so, whatever its domain does.
void settle_status(Server& server, ServerStatus status) {
  if (server.disk_gone) return;
  server.status = status;
  server.fault.clear();
  server.fault_ms = 0;
}

std::vector<PortId> ports_of(const State& s, ServerId id) {
  std::vector<PortId> ports;
  s.ports.each_by(Port::by_server, encode_key(id), [&](const Port& port) {
    ports.push_back(port.id);
    return true;
  });
  return ports;
}

void clear_leftover(State& s, const LeftoverKey& key) {
  if (s.leftovers.contains(key)) s.leftovers.erase(key);
}

void leave_behind(State& s, Leftover leftover) {
  clear_leftover(s, leftover.id);
  s.leftovers.insert(std::move(leftover));
}

void wish_power(Server& server, bool on, const Meta& m) {
  server.on = on;
  server.power_seq = m.born.seq;
  server.stop_hard = false;
  server.want_seq = m.born.seq;
}

}  // namespace

void created(State& s, const ServerCreated& e, const Meta& m) {
  s.servers.insert({.id = e.id, .born = m.born, .project = e.project, .user = e.user, .name = e.name,
                    .description = e.description, .flavor = e.flavor, .flavor_name = e.flavor_name, .vcpus = e.vcpus,
                    .ram_mib = e.ram_mib, .disk_gib = e.disk_gib, .image = e.image, .kernel = e.kernel,
                    .ramdisk = e.ramdisk, .kernel_arguments = e.kernel_arguments, .key_name = e.key_name,
                    .public_key = e.public_key, .user_data_sealed = e.user_data_sealed,
                    .admin_pass_sealed = e.admin_pass_sealed, .metadata = e.metadata, .zone = e.zone, .host = e.host,
                    .config_drive = e.config_drive, .hostname = e.hostname,
                    .created_ms = m.at_ms, .updated_ms = m.at_ms, .task = TaskState::spawning, .on = true,
                    .power_seq = m.born.seq, .want_seq = m.born.seq});
  begin_action(s, e.id, "create", m);
}

void placed(State& s, const ServerPlaced& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  CHECK(server.tenure == Tenure::none);
  server.tenure = Tenure::placed;
  server.node = e.node;
  ++server.attempts;
  server.retry = false;
  server.compute_released = server.disk_released = server.disk_ready = false;
  server.deadline_ms = e.deadline_ms;
  server.want_seq = m.born.seq;
  for (const auto& id : ports_of(s, e.id)) {
    Port& port = s.ports.edit(id);
    port.status = PortStatus::build;
    port.released = false;
    port.want_seq = m.born.seq;
    clear_leftover(s, {e.node, id.as<AnyId>()});
  }
  clear_leftover(s, {e.node, e.id.as<AnyId>()});
}

void unplaced(State& s, const ServerUnplaced& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  CHECK(server.tenure == Tenure::placed || (server.tenure == Tenure::unplacing && server.retry));
  server.tenure = Tenure::unplacing;
  server.retry = e.retry;
  server.deadline_ms = e.deadline_ms;
  server.want_seq = m.born.seq;
  server.updated_ms = m.at_ms;
  if (!e.reason.empty()) {
    server.fault = e.reason;
    server.fault_ms = m.at_ms;
  }
}

void released(State& s, const ServerReleased& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  if (e.agent == wire::AgentKind::compute) {
    server.compute_released = true;
    server.running = false;
    server.want_seq = m.born.seq;  // only now are disk and ports wished away: what was seen before is no answer
  } else {
    server.disk_released = true;
    server.disk_gone = false;
  }
  server.updated_ms = m.at_ms;
}

void vacated(State& s, const ServerVacated& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  CHECK(server.tenure == Tenure::unplacing);
  server.tenure = Tenure::none;
  server.node = {};
  server.running = false;
  if (!server.retry && server.task != TaskState::deleting) server.deadline_ms = 0;
  server.updated_ms = m.at_ms;
}

void evacuated(State& s, const ServerEvacuated& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  CHECK(server.tenure != Tenure::none);
  if (s.nodes.at(server.node).state != NodeState::dead) {
    leave_behind(s, {.id = {server.node, e.id.as<AnyId>()}, .born = server.born, .server = e.id, .since = m.born.seq});
    for (const auto& id : ports_of(s, e.id))
      leave_behind(s, {.id = {server.node, id.as<AnyId>()}, .born = s.ports.at(id).born, .server = e.id,
                       .agent = wire::AgentKind::network, .since = m.born.seq});
  }
  const bool was_made = server.tenure == Tenure::placed && server.task != TaskState::spawning;
  if (was_made && server.task != TaskState::deleting) server.task = TaskState::rebuilding;
  server.tenure = Tenure::none;
  server.node = {};
  server.running = server.retry = false;
  server.fault = e.reason;
  server.fault_ms = m.at_ms;
  server.updated_ms = m.at_ms;
}

void disk_ready(State& s, const ServerDiskReady& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.disk_ready = true;
  server.updated_ms = m.at_ms;
}

void disk_gone(State& s, const ServerDiskGone& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.disk_gone = true;
  server.status = ServerStatus::error;
  server.fault = e.reason;
  server.fault_ms = server.updated_ms = m.at_ms;
  // A stop or reboot of a guest that runs on goes its way; what wished it up has failed.
  const bool ends_here = server.task == TaskState::spawning || server.task == TaskState::powering_on || server.task == TaskState::rebuilding;
  if (!ends_here) return;
  settle_task(server, m);
  finish_actions(s, e.id, e.reason, m);
}

void disk_found(State& s, const ServerDiskFound& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.disk_gone = false;
  settle_status(server, server.running ? ServerStatus::active : ServerStatus::shutoff);
  server.updated_ms = m.at_ms;
  if (!server.running) wish_power(server, false, m);  // who wants it on starts it
}

void paused(State& s, const ServerPaused& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.status = ServerStatus::paused;
  server.fault = e.reason;
  server.fault_ms = server.updated_ms = m.at_ms;
}

void resumed(State& s, const ServerResumed& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  CHECK(server.status == ServerStatus::paused);
  settle_status(server, ServerStatus::active);
  server.updated_ms = m.at_ms;
}

void started(State& s, const ServerStarted& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.running = true;
  server.stop_cause = StopCause::none;
  settle_status(server, ServerStatus::active);
  if (!server.launched_ms) server.launched_ms = m.at_ms;
  settle_task(server, m);
  finish_actions(s, e.id, {}, m);
}

void stopped(State& s, const ServerStopped& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.running = false;
  server.stop_cause = e.cause;
  settle_status(server, ServerStatus::shutoff);
  // What its guest did is now the wish; that its host went down is none.
  if (e.cause == StopCause::guest || e.cause == StopCause::killed) wish_power(server, false, m);
  settle_task(server, m);
  finish_actions(s, e.id, {}, m);
}

void rebooted(State& s, const ServerRebooted& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.running = true;
  settle_status(server, ServerStatus::active);
  settle_task(server, m);
  finish_actions(s, e.id, {}, m);
}

void failed(State& s, const ServerFailed& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.status = ServerStatus::error;
  server.fault = e.reason;
  server.fault_ms = m.at_ms;
  if (server.task != TaskState::deleting) settle_task(server, m);
  finish_actions(s, e.id, e.reason, m);
}

void troubled(State& s, const ServerTroubled& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.fault = e.reason;
  server.fault_ms = e.reason.empty() ? 0 : m.at_ms;
}

void overdue(State& s, const ServerOverdue& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.fault = e.reason;
  server.fault_ms = m.at_ms;
  server.deadline_ms = e.deadline_ms;
}

void updated(State& s, const ServerUpdated& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.name = e.name;
  server.description = e.description;
  server.updated_ms = m.at_ms;
}

void deleting(State& s, const ServerDeleting& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.task = TaskState::deleting;
  server.retry = false;
  server.deadline_ms = e.deadline_ms;
  server.updated_ms = m.at_ms;
  if (server.tenure == Tenure::placed) {
    server.tenure = Tenure::unplacing;
    server.want_seq = m.born.seq;
  }
  begin_action(s, e.id, "delete", m);
}

void deleted(State& s, const ServerDeleted& e, const Meta&) {
  CHECK(s.servers.at(e.id).tenure == Tenure::none && !s.leftovers.any_by(Leftover::by_server, encode_key(e.id)));
  std::vector<ActionKey> actions;
  s.instance_actions.each_by(InstanceAction::by_server, encode_key(e.id), [&](const InstanceAction& row) {
    actions.push_back(row.id);
    return true;
  });
  for (const auto& key : actions) s.instance_actions.erase(key);
  s.servers.erase(e.id);
}

void starting(State& s, const ServerStarting& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.task = TaskState::powering_on;
  server.deadline_ms = e.deadline_ms;
  server.updated_ms = m.at_ms;
  wish_power(server, true, m);
  begin_action(s, e.id, "start", m);
}

void stopping(State& s, const ServerStopping& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.task = TaskState::powering_off;
  server.deadline_ms = e.deadline_ms;
  server.updated_ms = m.at_ms;
  wish_power(server, false, m);
  begin_action(s, e.id, "stop", m);
}

void stop_forced(State& s, const ServerStopForced& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.stop_hard = true;
  server.deadline_ms = e.deadline_ms;
  server.want_seq = m.born.seq;
}

void rebooting(State& s, const ServerRebooting& e, const Meta& m) {
  Server& server = s.servers.edit(e.id);
  server.task = e.hard ? TaskState::rebooting_hard : TaskState::rebooting;
  server.reboot_hard = e.hard;
  server.reboot_seq = m.born.seq;
  server.deadline_ms = e.deadline_ms;
  server.want_seq = m.born.seq;
  server.updated_ms = m.at_ms;
  if (e.hard && !server.on) wish_power(server, true, m);
  begin_action(s, e.id, "reboot", m);
}

}  // namespace reprise::server
