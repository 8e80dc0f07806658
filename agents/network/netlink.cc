#include "agents/network/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

namespace reprise::network {
namespace {

constexpr const char* netns_folder = "/run/netns";
// The kernel answers at once: an answer that is missing will not come.
constexpr timeval answers_within{5, 0};

Errc code_of(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
    case EROFS:
      return Errc::denied;
    case ENODEV:
    case ENOENT:
      return Errc::not_found;
    case EEXIST:
      return Errc::exists;
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
      return Errc::no_space;
    case EOPNOTSUPP:
      return Errc::unsupported;
    case EAGAIN:
    case ETIMEDOUT:
      return Errc::timed_out;
    default:
      return Errc::conflict;
  }
}

Error refused(const std::string& what, int error) {
  return {code_of(error), fmt::format("{}: {}", what, std::strerror(error))};
}

// A netlink message under construction; attributes may nest.
class Message {
 public:
  template <class Body>
  Message(std::uint16_t type, std::uint16_t flags, const Body& body) : bytes_(NLMSG_SPACE(sizeof(Body))) {
    auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    std::memcpy(NLMSG_DATA(header), &body, sizeof body);
  }
  void put(std::uint16_t type, const void* data, std::size_t size) {
    rtattr head{static_cast<unsigned short>(RTA_LENGTH(size)), type};
    const auto at = bytes_.size();
    bytes_.resize(at + RTA_SPACE(size));
    std::memcpy(bytes_.data() + at, &head, sizeof head);
    if (size) std::memcpy(bytes_.data() + at + RTA_LENGTH(0), data, size);
  }
  void put(std::uint16_t type, const std::string& text) { put(type, text.c_str(), text.size() + 1); }
  void put_u32(std::uint16_t type, std::uint32_t value) { put(type, &value, sizeof value); }
  template <class Fill>
  void nest(std::uint16_t type, Fill fill) {
    const auto at = bytes_.size();
    put(type, nullptr, 0);
    fill();
    const auto size = static_cast<unsigned short>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &size, sizeof size);
  }
  void raw(const void* data, std::size_t size) {
    const auto at = bytes_.size();
    bytes_.resize(at + NLMSG_ALIGN(size));
    std::memcpy(bytes_.data() + at, data, size);
  }
  std::vector<char>& finish() {
    reinterpret_cast<nlmsghdr*>(bytes_.data())->nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    return bytes_;
  }

 private:
  std::vector<char> bytes_;
};

void put_mac(Message& message, Mac mac) {
  unsigned char bytes[6];
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<unsigned char>(mac.value >> (8 * (5 - i)));
  message.put(IFLA_ADDRESS, bytes, sizeof bytes);
}

// Receives until the acknowledgement or the end of a dump. Gives errno of the answer.
int answers(int socket, std::uint32_t seq, const std::function<void(const nlmsghdr*)>& each) {
  std::vector<char> buffer(64 * 1024);
  for (;;) {
    const auto got = recv(socket, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_seq != seq) continue;
      if (header->nlmsg_type == NLMSG_ERROR) return -static_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
      if (header->nlmsg_type == NLMSG_DONE) return 0;
      if (each) each(header);
    }
  }
}

int send_numbered(int socket, std::vector<char>& message, std::uint32_t seq) {
  reinterpret_cast<nlmsghdr*>(message.data())->nlmsg_seq = seq;
  return send(socket, message.data(), message.size(), 0) < 0 ? errno : 0;
}

// Runs `work` on a thread of its own that is in the namespace: the caller's namespace stays as it is.
int in_netns(const std::string& path, const std::function<int()>& work) {
  if (path.empty()) return work();
  int error = 0;
  std::thread([&] {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) error = errno;
    if (fd >= 0) close(fd);
    if (error == 0) error = work();
  }).join();
  return error;
}

ifreq named(const std::string& name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  return request;
}

}  // namespace

Result<Netlink> Netlink::open(const std::string& netns) {
  int route = -1, control = -1;
  const int error = in_netns(netns, [&] {
    route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (route < 0 || control < 0) return errno;
    const bool timed =
        setsockopt(route, SOL_SOCKET, SO_RCVTIMEO, &answers_within, sizeof answers_within) == 0;
    return timed ? 0 : errno;
  });
  if (error == 0) return Netlink(route, control);
  if (route >= 0) close(route);
  if (control >= 0) close(control);
  return refused(fmt::format("network namespace {}", netns.empty() ? "of our own" : netns), error);
}

Netlink::Netlink(Netlink&& other) noexcept
    : route_(std::exchange(other.route_, -1)),
      control_(std::exchange(other.control_, -1)),
      seq_(other.seq_) {}

Netlink::~Netlink() {
  if (route_ >= 0) close(route_);
  if (control_ >= 0) close(control_);
}

Status Netlink::request(std::vector<char>& message, const std::string& what) {
  int error = send_numbered(route_, message, ++seq_);
  if (error == 0) error = answers(route_, seq_, {});
  return error == 0 ? Status{} : Status{refused(what, error)};
}

Result<std::optional<Link>> Netlink::link(const std::string& name) {
  Message message(RTM_GETLINK, 0, ifinfomsg{});
  message.put(IFLA_IFNAME, name);
  std::optional<Link> found;
  int error = send_numbered(route_, message.finish(), ++seq_);
  if (error == 0)
    error = answers(route_, seq_, [&](const nlmsghdr* header) {
      const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
      Link link{info->ifi_index, {}, 0, (info->ifi_flags & IFF_UP) != 0};
      auto left = IFLA_PAYLOAD(header);
      for (const rtattr* attribute = IFLA_RTA(info); RTA_OK(attribute, left);
           attribute = RTA_NEXT(attribute, left)) {
        const auto* data = static_cast<const unsigned char*>(RTA_DATA(attribute));
        if (attribute->rta_type == IFLA_MTU) std::memcpy(&link.mtu, data, sizeof link.mtu);
        if (attribute->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(attribute) == 6)
          for (int i = 0; i < 6; ++i) link.mac.value = link.mac.value << 8 | data[i];
      }
      found = link;
    });
  if (error == ENODEV) return std::optional<Link>{};
  if (error != 0) return refused("device " + name, error);
  return found;
}

Status Netlink::add_veth(const std::string& name, const std::string& peer, const std::string& peer_netns) {
  const int fd = ::open(peer_netns.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return refused("network namespace " + peer_netns, errno);
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  message.put(IFLA_IFNAME, name);
  message.nest(IFLA_LINKINFO, [&] {
    message.put(IFLA_INFO_KIND, "veth", 4);
    message.nest(IFLA_INFO_DATA, [&] {
      message.nest(VETH_INFO_PEER, [&] {
        const ifinfomsg info{};
        message.raw(&info, sizeof info);
        message.put(IFLA_IFNAME, peer);
        message.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(fd));
      });
    });
  });
  auto status = request(message.finish(), fmt::format("veth pair {} and {} (in {})", name, peer, peer_netns));
  close(fd);
  return status;
}

Status Netlink::remove_link(const std::string& name) {
  Message message(RTM_DELLINK, 0, ifinfomsg{});
  message.put(IFLA_IFNAME, name);
  auto status = request(message.finish(), "removing device " + name);
  return status.ok() || status.error().code == Errc::not_found ? Status{} : status;
}

Status Netlink::set_link(const std::string& name, std::optional<Mac> mac, std::optional<std::uint32_t> mtu,
                         bool up) {
  ifinfomsg info{};
  info.ifi_flags = up ? IFF_UP : 0;
  info.ifi_change = IFF_UP;
  Message message(RTM_NEWLINK, 0, info);
  message.put(IFLA_IFNAME, name);
  if (mac) put_mac(message, *mac);
  if (mtu) message.put_u32(IFLA_MTU, *mtu);
  return request(message.finish(), "setting up device " + name);
}

Result<std::set<AddressAndPrefix>> Netlink::addresses(const std::string& name) {
  auto device = link(name);
  if (!device) return device.error();
  if (!*device) return {Errc::not_found, "device " + name + " is not there"};
  ifaddrmsg query{};
  query.ifa_family = AF_INET;
  Message message(RTM_GETADDR, NLM_F_DUMP, query);
  std::set<AddressAndPrefix> found;
  int error = send_numbered(route_, message.finish(), ++seq_);
  if (error == 0)
    error = answers(route_, seq_, [&](const nlmsghdr* header) {
      const auto* info = static_cast<const ifaddrmsg*>(NLMSG_DATA(header));
      if (static_cast<int>(info->ifa_index) != (*device)->index) return;
      auto left = IFA_PAYLOAD(header);
      for (const rtattr* attribute = IFA_RTA(info); RTA_OK(attribute, left);
           attribute = RTA_NEXT(attribute, left)) {
        std::uint32_t address = 0;
        if (attribute->rta_type != IFA_LOCAL) continue;
        std::memcpy(&address, RTA_DATA(attribute), sizeof address);
        found.emplace(Ipv4{ntohl(address)}, info->ifa_prefixlen);
      }
    });
  if (error != 0) return refused("addresses of " + name, error);
  return found;
}

namespace {
Message address_message(std::uint16_t type, std::uint16_t flags, int index, AddressAndPrefix address) {
  ifaddrmsg info{};
  info.ifa_family = AF_INET;
  info.ifa_prefixlen = address.second;
  info.ifa_index = static_cast<unsigned>(index);
  Message message(type, flags, info);
  const std::uint32_t mask = address.second >= 32 ? 0 : 0xffffffffu >> address.second;
  message.put_u32(IFA_LOCAL, htonl(address.first.value));
  if (type == RTM_NEWADDR && address.second < 31)
    message.put_u32(IFA_BROADCAST, htonl(address.first.value | mask));
  return message;
}
}  // namespace

Status Netlink::add_address(const std::string& name, AddressAndPrefix address) {
  auto device = link(name);
  if (!device) return device.error();
  if (!*device) return {Errc::not_found, "device " + name + " is not there"};
  auto message = address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, (*device)->index, address);
  return request(message.finish(),
                 fmt::format("address {}/{} on {}", address.first.str(), address.second, name));
}

Status Netlink::remove_address(const std::string& name, AddressAndPrefix address) {
  auto device = link(name);
  if (!device) return device.error();
  if (!*device) return {};
  auto message = address_message(RTM_DELADDR, 0, (*device)->index, address);
  return request(message.finish(),
                 fmt::format("removing address {}/{} from {}", address.first.str(), address.second, name));
}

Status Netlink::no_offload(const std::string& name, bool rx) {
  for (const std::uint32_t command : {std::uint32_t{ETHTOOL_STXCSUM}, std::uint32_t{ETHTOOL_SRXCSUM}}) {
    if (command == ETHTOOL_SRXCSUM && !rx) continue;
    ethtool_value value{command, 0};
    ifreq request = named(name);
    request.ifr_data = reinterpret_cast<char*>(&value);
    if (ioctl(control_, SIOCETHTOOL, &request) != 0)
      return refused("switching off checksum offload of " + name, errno);
  }
  return {};
}

Result<std::string> Netlink::driver_of(const std::string& name) {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request = named(name);
  request.ifr_data = reinterpret_cast<char*>(&info);
  if (ioctl(control_, SIOCETHTOOL, &request) != 0) return refused("driver of " + name, errno);
  return std::string(info.driver);
}

bool kernel_has_family(const std::string& family) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
  if (fd < 0) return false;
  genlmsghdr header{};
  header.cmd = CTRL_CMD_GETFAMILY;
  header.version = 1;
  Message message(GENL_ID_CTRL, 0, header);
  message.put(CTRL_ATTR_FAMILY_NAME, family);
  int error = send_numbered(fd, message.finish(), 1);
  if (error == 0) error = answers(fd, 1, {});
  close(fd);
  return error == 0;
}

std::string netns_path(const std::string& name) { return fmt::format("{}/{}", netns_folder, name); }

bool netns_there(const std::string& name) {
  struct statfs fs;
  return statfs(netns_path(name).c_str(), &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

// The folder is a shared mount, as ip-netns(8) makes it: else a namespace that is removed here would
// live on in every mount namespace that was copied meanwhile.
static Status ready_netns_folder() {
  std::error_code error;
  std::filesystem::create_directories(netns_folder, error);
  if (error) return refused(fmt::format("folder {}", netns_folder), error.value());
  if (mount("", netns_folder, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL || mount(netns_folder, netns_folder, "none", MS_BIND | MS_REC, nullptr) != 0 ||
      mount("", netns_folder, "none", MS_SHARED | MS_REC, nullptr) != 0)
    return refused(fmt::format("making {} a shared mount", netns_folder), errno);
  return {};
}

Status add_netns(const std::string& name) {
  if (netns_there(name)) return {};
  if (auto ready = ready_netns_folder(); !ready) return ready;
  const std::string path = netns_path(name);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
  if (fd < 0) return refused("file " + path, errno);
  close(fd);
  int error = 0;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0 ||
        mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0)
      error = errno;
  }).join();
  if (error != 0) {
    unlink(path.c_str());
    return refused("network namespace " + name, error);
  }
  auto inside = Netlink::open(path);
  return inside ? inside->set_link("lo", std::nullopt, std::nullopt, true) : Status{inside.error()};
}

Status remove_netns(const std::string& name) {
  const std::string path = netns_path(name);
  if (umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT)
    return refused("unmounting " + path, errno);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return refused("removing " + path, errno);
  return {};
}

std::vector<std::string> netns_with_prefix(const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(netns_folder, ignored))
    if (entry.path().filename().string().starts_with(prefix)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace reprise::network
