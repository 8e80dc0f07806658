#include "agents/compute/libvirt_session.h"

#include <fmt/format.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "agents/compute/patience.h"

namespace reprise::compute {
namespace {

constexpr std::chrono::seconds connect_patience{5};
constexpr std::chrono::milliseconds retry_first{50};
constexpr std::chrono::milliseconds retry_last{1000};
constexpr std::chrono::seconds goodbye_patience{2};
constexpr std::size_t idle_leases_at_most = 8;
constexpr int keepalive_interval_s = 5;
constexpr unsigned keepalive_count = 3;

// libvirt's event loop is one for the process; once started it runs until the process ends.
void start_event_loop() {
  static std::once_flag once;
  std::call_once(once, [] {
    // libvirt writes to a socket whose daemon may have died: an error, not the end of this process.
    struct sigaction broken_pipe {};
    if (sigaction(SIGPIPE, nullptr, &broken_pipe) == 0 && broken_pipe.sa_handler == SIG_DFL)
      std::signal(SIGPIPE, SIG_IGN);
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});  // by default libvirt writes errors to stderr
    virInitialize();
    virEventRegisterDefaultImpl();
    // Without any handle the loop would have nothing to wait for.
    virEventAddTimeout(
        60'000, [](int, void*) {}, nullptr, nullptr);
    std::thread([] {
      for (;;) virEventRunDefaultImpl();
    }).detach();
  });
}

struct Note {
  std::optional<int> shutdown_detail;
  std::optional<Ending> ending;
  std::uint64_t reboots = 0;
  std::set<std::string> removed;  // aliases
  std::set<std::string> not_removable;
};

std::string uuid_of(virDomainPtr domain) {
  char text[VIR_UUID_STRING_BUFLEN] = {};
  return virDomainGetUUIDString(domain, text) == 0 ? text : "";
}

std::string last_words() {
  const auto* error = virGetLastError();
  return error != nullptr && error->message != nullptr ? error->message : "no reason given";
}

}  // namespace

struct LibvirtSession::State : std::enable_shared_from_this<LibvirtSession::State> {
  std::string uri;
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool finished = false;  // the connecting thread is at its end
  Connection connection;
  bool usable = false;  // `connection` is there and was not lost
  bool tried = false;   // an attempt was made since it was lost
  std::vector<int> callbacks;
  std::string error = "not connected yet";
  std::function<void()> wake;
  std::map<std::string, Note> notes;
  std::uint64_t life = 0;               // of `connection`: leases of a former one are closed
  std::vector<Connection> idle;         // leases that nobody uses

  void run();
  bool connect();
  void disconnect();
  void lost(const virConnect* which, const std::string& why);
  void call_wake();
  template <class Change>
  void note(virDomainPtr domain, Change change) {
    const auto uuid = uuid_of(domain);
    {
      const std::lock_guard lock(mutex);
      change(notes[uuid]);
      changed.notify_all();
    }
    call_wake();
  }
};

namespace {

using State = LibvirtSession::State;
// What libvirt keeps for a callback. It owns nothing: a callback that comes late finds nobody.
using Listener = std::weak_ptr<State>;

void free_listener(void* opaque) { delete static_cast<Listener*>(opaque); }

template <class Change>
void note(void* opaque, virDomainPtr domain, Change change) {
  if (const auto state = static_cast<Listener*>(opaque)->lock()) state->note(domain, change);
}

// Only the first event of an ending tells a guest's own power-off (SHUTDOWN/GUEST) from a QEMU that
// was told to quit (SHUTDOWN/HOST); STOPPED says SHUTDOWN after both.
Ending ending_of(int stopped_detail, std::optional<int> shutdown_detail) {
  if (stopped_detail == VIR_DOMAIN_EVENT_STOPPED_DESTROYED) return Ending::destroyed;
  if (stopped_detail != VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN) return Ending::killed;
  return shutdown_detail == VIR_DOMAIN_EVENT_SHUTDOWN_HOST ? Ending::killed : Ending::guest;
}

int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) {
  note(opaque, domain, [&](Note& note) {
    if (event == VIR_DOMAIN_EVENT_SHUTDOWN) note.shutdown_detail = detail;
    if (event == VIR_DOMAIN_EVENT_STOPPED) note.ending = ending_of(detail, note.shutdown_detail);
    if (event == VIR_DOMAIN_EVENT_UNDEFINED) note = Note{};
    if (event == VIR_DOMAIN_EVENT_STARTED) {
      note.shutdown_detail.reset();
      note.ending.reset();
    }
  });
  return 0;
}

void on_reboot(virConnectPtr, virDomainPtr domain, void* opaque) {
  note(opaque, domain, [](Note& note) { ++note.reboots; });
}

void on_removed(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
  note(opaque, domain, [&](Note& note) { note.removed.insert(alias); });
}

void on_removal_failed(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
  note(opaque, domain, [&](Note& note) { note.not_removable.insert(alias); });
}

void on_close(virConnectPtr connection, int reason, void* opaque) {
  const char* why = reason == VIR_CONNECT_CLOSE_REASON_KEEPALIVE ? "it does not answer any more"
                    : reason == VIR_CONNECT_CLOSE_REASON_EOF     ? "it closed the connection"
                                                                 : "the connection broke";
  if (const auto state = static_cast<Listener*>(opaque)->lock()) state->lost(connection, why);
}

}  // namespace

void LibvirtSession::State::call_wake() {
  std::function<void()> call;
  {
    const std::lock_guard lock(mutex);
    if (!stop) call = wake;
  }
  if (call) call();
}

void LibvirtSession::State::lost(const virConnect* which, const std::string& why) {
  const std::lock_guard lock(mutex);
  if (connection.get() != which || !usable) return;
  usable = false;
  tried = false;
  error = why;
  ++life;
  changed.notify_all();
}

// Events hold references to the connection: each must be given back, or it never closes.
void LibvirtSession::State::disconnect() {
  Connection old;
  std::vector<Connection> unused;
  std::vector<int> ids;
  {
    const std::lock_guard lock(mutex);
    old.swap(connection);
    ids.swap(callbacks);
    unused.swap(idle);
    usable = false;
    ++life;
  }
  unused.clear();
  if (!old) return;
  for (const int id : ids) virConnectDomainEventDeregisterAny(old.get(), id);
  virConnectUnregisterCloseCallback(old.get(), on_close);
}

namespace {

Connection open_connection(const std::string& uri) {
  Connection opened(virConnectOpen(uri.c_str()), [](virConnectPtr raw) {
    if (raw != nullptr) virConnectClose(raw);
  });
  // Local drivers (libvirt's own test driver) have no keepalive: that is no reason not to use them.
  if (opened) virConnectSetKeepAlive(opened.get(), keepalive_interval_s, keepalive_count);
  return opened;
}

}  // namespace

bool LibvirtSession::State::connect() {
  Connection opened = open_connection(uri);
  std::vector<int> ids;
  bool well = opened != nullptr;
  if (well) {
    auto* closing = new Listener(weak_from_this());
    if (virConnectRegisterCloseCallback(opened.get(), on_close, closing, free_listener) != 0) delete closing;
  }
  const auto watch = [&](int event, virConnectDomainEventGenericCallback callback) {
    if (!well) return;
    auto* opaque = new Listener(weak_from_this());
    const int id =
        virConnectDomainEventRegisterAny(opened.get(), nullptr, event, callback, opaque, free_listener);
    if (id < 0) delete opaque;
    if (id >= 0) ids.push_back(id);
    well = id >= 0;
  };
  watch(VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle));
  watch(VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot));
  watch(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed));
  watch(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed));
  const auto why = well ? std::string() : last_words();
  {
    const std::lock_guard lock(mutex);
    connection = opened;
    callbacks = ids;
    usable = well;
    tried = true;
    error = why;
    changed.notify_all();
  }
  if (!well) disconnect();
  return well;
}

void LibvirtSession::State::run() {
  auto retry = retry_first;
  for (;;) {
    disconnect();
    if (connect()) {
      retry = retry_first;
      call_wake();
    }
    std::unique_lock lock(mutex);
    if (usable) {
      changed.wait(lock, [this] { return stop || !usable; });
    } else {
      changed.wait_for(lock, retry, [this] { return stop; });
      retry = std::min(retry * 2, retry_last);
    }
    if (!stop) continue;
    lock.unlock();
    disconnect();
    lock.lock();
    finished = true;
    changed.notify_all();
    return;
  }
}

LibvirtSession::LibvirtSession(std::string uri) : state_(std::make_shared<State>()) {
  start_event_loop();
  state_->uri = std::move(uri);
  std::thread([state = state_] { state->run(); }).detach();
}

LibvirtSession::~LibvirtSession() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->wake = nullptr;
  state_->changed.notify_all();
  // A libvirtd that hangs holds the connecting thread inside libvirt: it is left to end by itself.
  state_->changed.wait_for(lock, goodbye_patience, [this] { return state_->finished; });
}

void LibvirtSession::on_change(std::function<void()> wake) {
  const std::lock_guard lock(state_->mutex);
  state_->wake = std::move(wake);
}

void LibvirtSession::wake() { state_->call_wake(); }

Status LibvirtSession::usable() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, connect_patience, [this] { return state_->usable || state_->tried; });
  if (state_->usable) return {};
  return {Errc::unreachable, fmt::format("libvirtd at {} cannot be reached: {}; it is asked again until it answers",
                                         state_->uri, state_->error)};
}

Result<Connection> LibvirtSession::lease() {
  if (auto well = usable(); !well) return well.error();
  Connection raw;
  std::uint64_t life = 0;
  std::string uri;
  {
    const std::lock_guard lock(state_->mutex);
    life = state_->life;
    uri = state_->uri;
    while (!raw && !state_->idle.empty()) {
      raw = std::move(state_->idle.back());
      state_->idle.pop_back();
      if (virConnectIsAlive(raw.get()) != 1) raw.reset();
    }
  }
  if (!raw) {
    using Opened = std::pair<Connection, std::string>;
    const auto opened = within<Opened>(connect_patience, [uri]() -> Opened {
      auto connection = open_connection(uri);
      return {connection, connection ? std::string() : last_words()};
    });
    if (!opened || !opened->first)
      return Error{Errc::unreachable,
                   fmt::format("libvirtd at {} {}; it is asked again until it answers", uri,
                               opened ? "cannot be reached: " + opened->second : "does not answer")};
    raw = opened->first;
  }
  // Whoever lets go of it last gives it back.
  auto* const pointer = raw.get();
  return Connection(pointer, [raw = std::move(raw), life, back = std::weak_ptr(state_)](virConnectPtr) mutable {
    const auto state = back.lock();
    if (!state) return;
    const bool alive = virConnectIsAlive(raw.get()) == 1;
    const std::lock_guard lock(state->mutex);
    if (alive && !state->stop && state->life == life && state->idle.size() < idle_leases_at_most)
      state->idle.push_back(std::move(raw));
  });
}

Error libvirt_error(const Connection& connection, const std::string& what) {
  const auto* error = virGetLastError();
  const int code = error == nullptr ? static_cast<int>(VIR_ERR_INTERNAL_ERROR) : error->code;
  const auto words = last_words();
  if (virConnectIsAlive(connection.get()) != 1)
    return {Errc::unreachable,
            fmt::format("{}: libvirtd went away ({}); unknown whether it was done", what, words)};
  const auto text = fmt::format("{}: libvirt says: {}", what, words);
  if (words.find("annot allocate memory") != std::string::npos ||
      words.find("No space left") != std::string::npos)
    return {Errc::no_space, text};
  if (words.find("No more available PCI slots") != std::string::npos)
    return {Errc::no_space, text + "; stop the server and start it again"};
  switch (code) {
    case VIR_ERR_NO_DOMAIN:
      return {Errc::not_found, text};
    case VIR_ERR_OPERATION_TIMEOUT:
      return {Errc::timed_out, text};
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_ACCESS_DENIED:
      return {Errc::denied, text};
    case VIR_ERR_NO_MEMORY:
      return {Errc::no_space, text};
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_CONFIG_UNSUPPORTED:
      return {Errc::invalid, text};
    default:
      return {Errc::conflict, text};
  }
}

std::optional<Ending> LibvirtSession::ending(const std::string& uuid) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->notes.find(uuid);
  return found == state_->notes.end() ? std::nullopt : found->second.ending;
}

std::uint64_t LibvirtSession::reboots(const std::string& uuid) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->notes.find(uuid);
  return found == state_->notes.end() ? 0 : found->second.reboots;
}

void LibvirtSession::expect_removal(const std::string& uuid, const std::string& alias) {
  const std::lock_guard lock(state_->mutex);
  auto& note = state_->notes[uuid];
  note.removed.erase(alias);
  note.not_removable.erase(alias);
}

bool LibvirtSession::wait_for_removal(const std::string& uuid, const std::string& alias,
                                      std::chrono::milliseconds patience) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, patience, [&] {
    const auto& note = state_->notes[uuid];
    return note.removed.contains(alias) || note.not_removable.contains(alias) || note.ending.has_value() ||
           !state_->usable;
  });
  return state_->notes[uuid].removed.contains(alias);
}

std::shared_ptr<void> every(std::chrono::milliseconds period, std::function<void()> work) {
  struct Timer {
    std::mutex mutex;
    std::function<void()> work;
  };
  start_event_loop();
  const auto timer = std::make_shared<Timer>();
  timer->work = std::move(work);
  const auto tick = [](int, void* opaque) {
    auto& held = *static_cast<std::shared_ptr<Timer>*>(opaque);
    const std::lock_guard lock(held->mutex);
    if (held->work) held->work();
  };
  const int id =
      virEventAddTimeout(static_cast<int>(period.count()), tick, new std::shared_ptr<Timer>(timer),
                         [](void* opaque) { delete static_cast<std::shared_ptr<Timer>*>(opaque); });
  // Once the handle is gone the work does not run any more, not even half.
  return {nullptr, [timer, id](void*) {
            if (id >= 0) virEventRemoveTimeout(id);
            const std::lock_guard lock(timer->mutex);
            timer->work = nullptr;
          }};
}

}  // namespace reprise::compute
