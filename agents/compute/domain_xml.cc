#include "agents/compute/domain_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <sstream>

namespace reprise::compute {
namespace {

namespace pt = boost::property_tree;

// Debian's cloud kernel under TCG: without these it waits for timers that QEMU gives late.
constexpr const char* default_kernel_arguments = "console=ttyS0 quiet panic=1 no_timer_check tsc=unstable";
constexpr const char* config_drive_alias = "ua-config";

// The guest's PCI bus is the same at every start, whatever comes and goes: a name that a guest gives by
// place (enp1s0, /dev/disk/by-path) stays. Bus n is behind the n-th root port, eight ports a slot of the
// root bus: buses 1-4 are NICs 0-3, buses 5-30 disks vda-vdz, each with one device in slot 0; NICs after
// the fourth come behind those. The config drive's controller stands on the root bus itself.
constexpr unsigned config_drive_slot = 1;
constexpr unsigned first_port_slot = 2;
constexpr unsigned ports_a_slot = 8;
constexpr std::size_t nics_first = 4;
constexpr unsigned first_disk_bus = 5;
constexpr unsigned disk_letters = 26;
constexpr unsigned first_late_nic_bus = first_disk_bus + disk_letters;
// Slot 0x1f is the chipset's own.
constexpr std::size_t nics_at_most = nics_first + (0x1f - first_port_slot) * ports_a_slot - first_late_nic_bus + 1;

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '\'':
        safe += "&apos;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

bool printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// The server's name for whoever looks with libvirt's own tools: not its identity, so it may lose letters.
std::string title(std::string_view name) {
  std::string plain;
  for (const char c : name) plain += c >= 0x20 && c < 0x7f ? c : '?';
  return escaped(plain);
}

std::string alias(const char* kind, const std::string& id, Born born) {
  return fmt::format("ua-{}-{}-{}-{}", kind, id, born.seq, born.index);
}

struct AliasParts {
  std::string kind;
  AnyId id;
  Born born;
};

std::optional<AliasParts> parse_alias(const std::string& text) {
  AliasParts parts;
  for (const char* kind : {"boot", "disk", "nic"}) {
    const auto head = fmt::format("ua-{}-", kind);
    if (text.size() <= head.size() + 37 || !text.starts_with(head)) continue;
    auto rest = text.substr(head.size() + 37);
    std::replace(rest.begin(), rest.end(), '-', '.');
    const auto id = AnyId::parse(text.substr(head.size(), 36));
    const auto born = Born::parse(rest);
    if (!id || !born) return std::nullopt;
    return AliasParts{kind, *id, *born};
  }
  return std::nullopt;
}

unsigned nic_bus(std::size_t index) {
  return static_cast<unsigned>(index < nics_first ? index + 1 : first_late_nic_bus + index - nics_first);
}

bool is_target(const std::string& name) {
  return name.size() == 3 && name.starts_with("vd") && name[2] >= 'a' && name[2] <= 'z';
}

unsigned disk_bus(const std::string& target) { return first_disk_bus + static_cast<unsigned>(target[2] - 'a'); }

std::string on_bus(unsigned bus) {
  return fmt::format("<address type='pci' domain='0x0000' bus='{:#04x}' slot='0x00' function='0x0'/>", bus);
}

std::string nic_xml(const NicLink& nic, const std::string& bridge, std::size_t index) {
  // Checksums are made in the guest: under the userspace datapath a frame that leaves them to the
  // host's card never gets them, and TCP dies while ping works.
  return fmt::format(
      "<interface type='bridge'><mac address='{}'/><source bridge='{}'/>"
      "<virtualport type='openvswitch'><parameters interfaceid='{}'/></virtualport>"
      "<target dev='{}'/><model type='virtio'/>"
      "<driver><host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off'/>"
      "<guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/></driver>"
      "<rom enabled='no'/><mtu size='{}'/><alias name='{}'/>{}</interface>\n",
      nic.mac.str(), escaped(bridge), nic.port.str(), tap_name(nic.port), nic.mtu,
      alias("nic", nic.port.str(), nic.born), on_bus(nic_bus(index)));
}

Result<std::string> os_xml(const ServerWant& server, const DomainHost& host) {
  std::string direct;
  if (!host.kernel.empty()) {
    const std::string arguments =
        server.kernel_arguments.empty() ? default_kernel_arguments : server.kernel_arguments;
    if (!printable_ascii(arguments))
      return Error{Errc::invalid,
                   "the image's os_command_line has characters that no kernel takes: printable ASCII only"};
    direct =
        fmt::format("<kernel>{}</kernel>{}<cmdline>{}</cmdline>", escaped(host.kernel),
                    host.ramdisk.empty() ? "" : fmt::format("<initrd>{}</initrd>", escaped(host.ramdisk)),
                    escaped(arguments));
  }
  return fmt::format("<os><type arch='x86_64' machine='q35'>hvm</type>{}</os>\n", direct);
}

// A CD-ROM of its own bus: as a virtio disk it would take a letter from the volumes.
std::string config_drive_xml(const std::string& path) {
  return fmt::format(
      "<controller type='scsi' index='0' model='virtio-scsi'>"
      "<address type='pci' domain='0x0000' bus='0x00' slot='{:#04x}' function='0x0'/></controller>\n"
      "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{}'/>"
      "<target dev='sda' bus='scsi'/><readonly/><alias name='{}'/>"
      "<address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>\n",
      config_drive_slot, escaped(path), config_drive_alias);
}

std::string root_ports_xml(std::size_t nics) {
  std::string ports = "<controller type='pci' index='0' model='pcie-root'/>";
  const unsigned last =
      first_late_nic_bus - 1 + static_cast<unsigned>(nics > nics_first ? nics - nics_first : 0);
  for (unsigned bus = 1; bus <= last; ++bus) {
    const unsigned place = bus - 1;
    ports += fmt::format(
        "<controller type='pci' index='{}' model='pcie-root-port'><address type='pci' domain='0x0000' "
        "bus='0x00' slot='{:#04x}' function='{:#x}'{}/></controller>",
        bus, first_port_slot + place / ports_a_slot, place % ports_a_slot,
        place % ports_a_slot == 0 ? " multifunction='on'" : "");
  }
  return ports;
}

std::string cpu_xml(bool kvm) {
  if (kvm) return "<features><acpi/><apic/></features><cpu mode='host-passthrough'/>\n";
  // The default cache of translated code is a gigabyte a guest.
  return "<features><acpi/><apic/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>\n";
}

const pt::ptree* our_metadata(const pt::ptree& domain) {
  const auto metadata = domain.get_child_optional("metadata");
  if (!metadata) return nullptr;
  for (const auto& [name, element] : *metadata) {
    const auto colon = name.find(':');
    const auto prefix = colon == std::string::npos ? std::string() : name.substr(0, colon);
    const auto space = prefix.empty() ? "<xmlattr>.xmlns" : "<xmlattr>.xmlns:" + prefix;
    if (name.substr(colon + 1) == "server" && element.get(space, "") == metadata_uri) return &element;
  }
  return nullptr;
}

std::optional<Marks> read_marks(const pt::ptree& element) {
  Marks marks;
  const auto text = [&](const char* name) { return element.get(std::string("<xmlattr>.") + name, ""); };
  const auto id = ServerId::parse(text("id"));
  const auto born = Born::parse(text("born"));
  if (!id || !born) return std::nullopt;
  marks.id = *id;
  marks.born = *born;
  marks.power_seq = element.get<Seq>("<xmlattr>.power_seq", 0);
  marks.reboot_seq = element.get<Seq>("<xmlattr>.reboot_seq", 0);
  marks.stop_asked = element.get<Seq>("<xmlattr>.stop_asked", 0);
  marks.boot_id = text("boot_id");
  marks.cause = parse_cause(text("cause"));
  marks.identity = element.get<Seq>("<xmlattr>.identity", 0);
  return marks;
}

void read_device(const std::string& name, const pt::ptree& device, SeenDomain& seen) {
  const auto attribute = [&](const char* path) { return device.get(path, std::string()); };
  if (name == "controller" && attribute("<xmlattr>.model") == "pcie-root-port" &&
      attribute("<xmlattr>.index") == std::to_string(first_late_nic_bus - 1))
    seen.fixed_places = true;
  const auto target = attribute("target.<xmlattr>.dev");
  if (name == "disk" && is_target(target)) seen.targets.push_back(target);
  const auto parts = parse_alias(device.get("alias.<xmlattr>.name", ""));
  if (!parts) return;
  if (name == "disk") {
    DiskLink link{parts->id, parts->born, parts->kind == "boot",
                  device.get_child_optional("readonly").has_value(), target};
    seen.paths[target] = attribute("source.<xmlattr>.file");
    seen.disks.insert(link.boot ? seen.disks.begin() : seen.disks.end(), link);
  }
  if (name == "interface") {
    NicLink nic;
    nic.port = parts->id.as<PortId>();
    nic.born = parts->born;
    nic.mac = Mac::parse(device.get("mac.<xmlattr>.address", "")).value_or(Mac{});
    nic.mtu = device.get<std::uint32_t>("mtu.<xmlattr>.size", 1500);
    seen.nics.push_back(nic);
  }
}

}  // namespace

std::string domain_name(ServerId id) { return "reprise-" + id.str(); }

std::string disk_alias(const DiskLink& link) {
  return alias(link.boot ? "boot" : "disk", link.id.str(), link.born);
}

Result<std::string> disk_xml(const DomainDisk& disk, const std::string& target, bool fixed_place) {
  if (disk.source.type != "file")
    return Error{Errc::unsupported, fmt::format("disk {}: this driver opens files, not '{}'",
                                                disk.link.id.str(), disk.source.type)};
  if (!is_target(target))
    return Error{Errc::invalid, fmt::format("disk {}: '{}' is no place for it: vda to vdz are",
                                            disk.link.id.str(), target)};
  // What cannot be written stops the guest until it can, and loses nothing; what cannot be read it is told.
  return fmt::format(
      "<disk type='file' device='disk'><driver name='qemu' type='{}' error_policy='stop' "
      "rerror_policy='report' discard='unmap'/><source file='{}'/>"
      "<target dev='{}' bus='virtio'/>{}{}<serial>{}</serial><alias name='{}'/>{}</disk>\n",
      escaped(disk.source.format), escaped(disk.source.path), target,
      disk.link.boot ? "<boot order='1'/>" : "", disk.link.read_only ? "<readonly/>" : "", disk.link.id.str(),
      disk_alias(disk.link), fixed_place ? on_bus(disk_bus(target)) : std::string());
}

std::vector<std::string> disk_targets(const std::vector<DiskLink>& disks) {
  std::vector<std::string> taken, targets;
  for (const auto& disk : disks) {
    const bool free = is_target(disk.device) && std::find(taken.begin(), taken.end(), disk.device) == taken.end();
    targets.push_back(free ? disk.device : "");
    if (free) taken.push_back(disk.device);
  }
  for (auto& target : targets) {
    if (!target.empty()) continue;
    target = free_target(taken);
    taken.push_back(target);
  }
  return targets;
}

Result<std::string> domain_xml(const ServerWant& server, const std::vector<DomainDisk>& disks,
                               const DomainHost& host, const Marks& marks) {
  const auto os = os_xml(server, host);
  if (!os) return os.error();
  if (server.nics.size() > nics_at_most)
    return Error{Errc::invalid, fmt::format("server {} has {} ports: at most {} fit", server.id.str(),
                                            server.nics.size(), nics_at_most)};
  std::string devices;
  std::vector<DiskLink> links;
  for (const auto& disk : disks) links.push_back(disk.link);
  const auto targets = disk_targets(links);
  for (std::size_t i = 0; i < disks.size(); ++i) {
    if (targets[i].empty())
      return Error{Errc::invalid, fmt::format("server {} has {} disks: at most {} fit", server.id.str(),
                                              disks.size(), disk_letters)};
    const auto xml = disk_xml(disks[i], targets[i], true);
    if (!xml) return xml.error();
    devices += *xml;
  }
  if (!host.config_drive.empty()) devices += config_drive_xml(host.config_drive);
  for (std::size_t i = 0; i < server.nics.size(); ++i)
    devices += nic_xml(server.nics[i], host.bridge, i);
  const auto ports = root_ports_xml(server.nics.size());
  return fmt::format(
      "<domain type='{}'><name>{}</name><uuid>{}</uuid>{}\n<metadata>{}</metadata>\n"
      "<memory unit='MiB'>{}</memory><vcpu placement='static'>{}</vcpu>\n{}{}<clock offset='utc'/>\n"
      "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</"
      "on_crash>\n<devices>{}\n{}"
      "<serial type='pty'><log file='{}' append='off'/><target port='0'/></serial>"
      "<console type='pty'><target type='serial' port='0'/></console>\n{}\n"
      "<controller type='usb' model='none'/><memballoon model='none'/><video><model type='none'/></video>\n"
      "</devices></domain>\n",
      host.kvm ? "kvm" : "qemu", domain_name(server.id), server.id.str(),
      server.name.empty() ? "" : fmt::format("<title>{}</title>", title(server.name)), marks_xml(marks),
      server.ram_mib, server.vcpus, *os, cpu_xml(host.kvm),
      host.emulator.empty() ? "" : fmt::format("<emulator>{}</emulator>", escaped(host.emulator)), devices,
      escaped(host.console_log), ports);
}

std::optional<SeenDomain> read_domain_xml(const std::string& xml) {
  if (xml.find(metadata_uri) == std::string::npos) return std::nullopt;
  pt::ptree tree;
  try {
    std::istringstream stream(xml);
    pt::read_xml(stream, tree);
  } catch (const pt::xml_parser_error&) {
    return std::nullopt;
  }
  const auto domain = tree.get_child_optional("domain");
  if (!domain) return std::nullopt;
  const auto* element = our_metadata(*domain);
  if (element == nullptr) return std::nullopt;
  const auto marks = read_marks(*element);
  if (!marks) return std::nullopt;
  SeenDomain seen;
  seen.marks = *marks;
  if (const auto devices = domain->get_child_optional("devices"))
    for (const auto& [name, device] : *devices) read_device(name, device, seen);
  return seen;
}

std::string free_target(const std::vector<std::string>& taken) {
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    const std::string target = {'v', 'd', letter};
    if (std::find(taken.begin(), taken.end(), target) == taken.end()) return target;
  }
  return {};
}

}  // namespace reprise::compute
