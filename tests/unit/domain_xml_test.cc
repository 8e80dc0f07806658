// A server as libvirt's XML and back, without libvirt; and console logs that a guest writes without end.
#include "agents/compute/domain_xml.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "agents/compute/console_log.h"

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
