// A server as libvirt's XML and back, without libvirt; and console logs that a guest writes without end.
#include "agents/compute/domain_xml.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "agents/compute/config_drive.h"
#include "agents/compute/console_log.h"
#include "agents/compute/host_state.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

ServerWant server() {
  ServerWant want;
  want.id = ServerId{0x1111, 0x2222};
  want.born = Born{7, 3};
  want.name = "a <b> & 'c' \"d\"\x01\xc3\xa4";
  want.ram_mib = 256;
  want.disks = {DiskLink{want.id.as<AnyId>(), want.born, true, false, "vda"},
                DiskLink{AnyId{5, 6}, Born{8, 0}, false, true, "vdd"}};
  want.nics = {NicLink{PortId{0xabcdef, 1}, Born{6, 2}, Mac{0xfa163e123456}, 1450}};
  return want;
}

std::vector<DomainDisk> disks(const ServerWant& want) {
  std::vector<DomainDisk> list;
  for (const auto& link : want.disks) list.push_back({link, {"file", "/a & b/" + link.id.str(), "qcow2"}});
  return list;
}

Marks marks(const ServerWant& want) { return {want.id, want.born, 10, 11, 12, "boot-1", StopCause::guest, 13}; }

}  // namespace

TEST_CASE("what is written into a domain is read back from it") {
  const auto want = server();
  DomainHost host;
  host.bridge = "br-int";
  host.console_log = "/c<o>nsole";
  host.config_drive = "/config.iso";
  const auto xml = domain_xml(want, disks(want), host, marks(want));
  REQUIRE(xml);
  const auto seen = read_domain_xml(*xml);
  REQUIRE(seen);
  CHECK(seen->marks == marks(want));
  CHECK(seen->disks == want.disks);
  CHECK(seen->nics == want.nics);
  CHECK(seen->targets == std::vector<std::string>{"vda", "vdd"});
  CHECK(free_target(seen->targets) == "vdb");
  CHECK(seen->fixed_places);
  CHECK(seen->paths.at("vdd") == "/a & b/" + want.disks[1].id.str());
  CHECK(xml->find("<title>a &lt;b&gt; &amp; &apos;c&apos; &quot;d&quot;??" "?</title>") != std::string::npos);
  CHECK(xml->find("<source file='/a &amp; b/") != std::string::npos);
  CHECK(xml->find("type='qemu'") != std::string::npos);
}

TEST_CASE("a domain that is not ours, or not readable, is nobody's") {
  CHECK_FALSE(read_domain_xml(""));
  CHECK_FALSE(read_domain_xml("<domain><name>x</name></domain>"));
  CHECK_FALSE(
      read_domain_xml("<domain><metadata><s:server xmlns:s='urn:other:1' id='1'/></metadata></domain>"));
  CHECK_FALSE(read_domain_xml("<domain><description>urn:reprise:1</description></domain>"));
  CHECK_FALSE(
      read_domain_xml("<domain><metadata><r:server xmlns:r='urn:reprise:1' id='1'/></metadata></domain>"));
  CHECK_FALSE(read_domain_xml("<domain><metadata xmlns:r='urn:reprise:1'"));
}

TEST_CASE("direct boot takes printable arguments only") {
  auto want = server();
  DomainHost host;
  host.kernel = "/kernel";
  host.ramdisk = "/ramdisk";
  want.kernel_arguments = "root=/dev/vda a=\"<&>\"";
  auto xml = domain_xml(want, disks(want), host, marks(want));
  REQUIRE(xml);
  CHECK(xml->find("<cmdline>root=/dev/vda a=&quot;&lt;&amp;&gt;&quot;</cmdline>") != std::string::npos);
  want.kernel_arguments = "quiet\n</cmdline>";
  xml = domain_xml(want, disks(want), host, marks(want));
  REQUIRE_FALSE(xml);
  CHECK(xml.error().code == Errc::invalid);
  CHECK(xml.error().text.find("os_command_line") != std::string::npos);
}

TEST_CASE("more disks than letters are refused") {
  auto want = server();
  for (std::uint64_t i = 0; i < 30; ++i) want.disks.push_back({AnyId{9, i}, Born{9, 0}, false, false});
  const auto xml = domain_xml(want, disks(want), DomainHost{}, marks(want));
  REQUIRE_FALSE(xml);
  CHECK(xml.error().code == Errc::invalid);
}

TEST_CASE("each disk and each NIC has a place of its own, whatever else there is") {
  auto want = server();
  const auto bus_after = [](const std::string& xml, const std::string& words) {
    const auto from = xml.find("bus='0x", xml.find("<address type='pci'", xml.find(words)));
    return xml.substr(from + 5, 4);
  };
  const auto alone = domain_xml(want, disks(want), DomainHost{}, marks(want));
  REQUIRE(alone);
  CHECK(bus_after(*alone, "dev='vda'") == "0x05");
  CHECK(bus_after(*alone, "dev='vdd'") == "0x08");
  CHECK(bus_after(*alone, "fa:16:3e:12:34:56") == "0x01");
  for (std::uint64_t i = 1; i < 6; ++i) want.nics.push_back({PortId{i, 2}, Born{6, 3}, Mac{i}, 1450});
  want.disks.insert(want.disks.begin() + 1, {AnyId{7, 7}, Born{8, 1}, false, false, "vdz"});
  DomainHost host;
  host.config_drive = "/config.iso";
  const auto full = domain_xml(want, disks(want), host, marks(want));
  REQUIRE(full);
  CHECK(bus_after(*full, "dev='vda'") == "0x05");
  CHECK(bus_after(*full, "dev='vdd'") == "0x08");
  CHECK(bus_after(*full, "dev='vdz'") == "0x1e");
  CHECK(bus_after(*full, "fa:16:3e:12:34:56") == "0x01");
  CHECK(bus_after(*full, "00:00:00:00:00:04") == "0x1f");  // the fifth NIC: behind the disks
  CHECK(full->find("<target dev='sda' bus='scsi'/>") != std::string::npos);
  CHECK(full->find("index='32'") != std::string::npos);
}

TEST_CASE("disks without a device, or with one that is taken, get the first that is free") {
  const auto link = [](std::uint64_t n, const char* device) {
    return DiskLink{AnyId{n, n}, Born{1, 0}, n == 0, false, device};
  };
  CHECK(disk_targets({link(0, ""), link(1, "vdc"), link(2, ""), link(3, "vdc"), link(4, "sda")}) ==
        std::vector<std::string>{"vda", "vdc", "vdb", "vdd", "vde"});
}

TEST_CASE("network_data.json says of each address what is so") {
  auto want = server();
  const auto ip = [](const char* text) { return *Ipv4::parse(text); };
  want.nics[0].addresses = {
      {ip("10.0.0.5"), 24, ip("10.0.0.1"), true, {ip("9.9.9.9")}},
      {ip("192.168.7.9"), 20, ip("192.168.0.1"), false, {ip("9.9.9.9"), ip("1.1.1.1")}},
      {ip("172.16.0.2"), 16, {}, false, {}}};
  want.nics.push_back({PortId{3, 3}, Born{6, 3}, Mac{0xfa163e999999}, 1500});
  CHECK(network_data_json(want) ==
        R"({"links":[{"id":"tap0000000000a","vif_id":"00000000-00ab-cdef-0000-000000000001","type":"ovs",)"
        R"("mtu":1450,"ethernet_mac_address":"fa:16:3e:12:34:56"},{"id":"tap00000000000",)"
        R"("vif_id":"00000000-0000-0003-0000-000000000003","type":"ovs","mtu":1500,)"
        R"("ethernet_mac_address":"fa:16:3e:99:99:99"}],"networks":[)"
        R"({"id":"network0","type":"ipv4_dhcp","link":"tap0000000000a"},)"
        R"({"id":"network1","type":"ipv4","link":"tap0000000000a","ip_address":"192.168.7.9",)"
        R"("netmask":"255.255.240.0","routes":[{"network":"0.0.0.0","netmask":"0.0.0.0","gateway":"192.168.0.1"}],)"
        R"("dns_nameservers":["9.9.9.9","1.1.1.1"],"services":[{"type":"dns","address":"9.9.9.9"},)"
        R"({"type":"dns","address":"1.1.1.1"}]},)"
        R"({"id":"network2","type":"ipv4","link":"tap0000000000a","ip_address":"172.16.0.2",)"
        R"("netmask":"255.255.0.0","routes":[],"dns_nameservers":[],"services":[]}],)"
        R"("services":[{"type":"dns","address":"9.9.9.9"},{"type":"dns","address":"1.1.1.1"}]})");
}

TEST_CASE("a host that goes down does so for ever; until then it is asked, but not at each breath") {
  int asked = 0;
  bool answer = false;
  HostState host([&] { return ++asked, answer; });
  CHECK_FALSE(host.going_down());
  answer = true;
  CHECK_FALSE(host.going_down());
  CHECK(asked == 1);
  HostState other([&] { return answer; });
  CHECK(other.going_down());
  answer = false;
  CHECK(other.going_down());
}

TEST_CASE("of a console log the last part is kept, and what was written after it") {
  std::string path = "/tmp/reprise-console-XXXXXX";
  close(mkstemp(path.data()));
  const std::string line(1023, 'x');
  std::ofstream log(path);
  for (int i = 0; i < 4096; ++i) log << line << '\n';
  log.flush();
  trim_console_log(path);
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK(static_cast<std::size_t>(info.st_blocks) * 512 < 2 * console_bytes_kept);
  log << "the end" << std::flush;
  auto text = read_console_log(path, 0);
  REQUIRE(text);
  CHECK(text->size() == console_bytes_kept);
  CHECK(text->substr(text->size() - 9) == "x\nthe end");
  text = read_console_log(path, 7);
  REQUIRE(text);
  CHECK(*text == "the end");
  unlink(path.c_str());
  text = read_console_log(path, 7);
  REQUIRE(text);
  CHECK(text->empty());
}

}  // namespace reprise::compute
