// The unmodified `openstack` client against compute, image and volume, over a real socket, with agents on
// simulated hosts: from an image to nothing left. Slow.
#include <fmt/format.h>

#include "controlplane/api/http_server.h"
#include "tests/system/openstack_shell.h"
#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

// Of %F: a folder with the files "disk", "key.pub" and "data".
constexpr Step until_volume[] = {
    {"flavor create tiny --id 900 --ram 512 --disk 1 --vcpus 1 -f value -c name", "tiny"},
    {"flavor show tiny -f value -c ram", "512"},
    {"image create cirrus --file %F/disk --disk-format raw --container-format bare --property os_type=linux "
     "--tag t -f value -c name",
     "cirrus"},
    {"image show cirrus -f value -c status", "active"},
    {"image set cirrus --name guest --property kernel=none --min-ram 64", ""},
    {"image list --long -f value -c Name -c Size", "guest 300000"},
    {"image save guest --file %F/back", ""},
    {"network create net -f value -c status", "ACTIVE"},
    {"subnet create sub --network net --subnet-range 10.9.0.0/24 -f value -c cidr", "10.9.0.0/24"},
    {"keypair create given --public-key %F/key.pub -f value -c name", "given"},
    {"keypair create made", "-----BEGIN RSA PRIVATE KEY-----"},
    {"keypair list -f value -c Name", "made"},
    {"server create one --wait --flavor tiny --image guest --network net --key-name given --user-data "
     "%F/data --property role=web -f value -c status",
     "ACTIVE"},
    {"server show one -f value -c addresses", "10.9.0."},
    {"server show one -f value -c properties", "web"},
    {"server list --long -f value -c Name -c Status -c Networks", "one ACTIVE"},
    {"server list --name ^o -f value -c Flavor", "tiny"},
    {"server set one --name two", ""},
    {"server event list two -f value -c Action", "create"},
    {"server reboot two --hard --wait", "Complete"},
    {"server reboot two --wait", "Complete"},
    {"console log show two", "reprise-guest ready"},
    {"volume create data --size 1 -f value -c status", "creating"},
};

// Once the volume is there: `volume create` has no --wait.
constexpr Step with_volume[] = {
    {"volume list -f value -c Name -c Status", "data available"},
    {"server add volume two data -f value -c Device", "/dev/vdb"},
    {"server volume list two -f value -c Device", "/dev/vdb"},
};

// Once it is attached: `server add volume` does not wait either.
constexpr Step with_volume_in_use[] = {
    {"volume list -f value", "in-use"},
    {"server remove volume two data", ""},
    {"volume set data --name more --description d", ""},
    {"volume create boot --size 1 --image guest -f value -c bootable", "true"},
    {"volume type list -f value -c Name", "local"},
    {"limits show --absolute -f value", "totalInstancesUsed 1"},
    {"quota set --cores 50 --volumes 60 admin", ""},
    {"quota show -f value -c cores", "50"},
    {"availability zone list -f value", "nova available"},
    {"hypervisor list -f value", "node-1"},
    {"hypervisor show node-1 -f value -c running_vms", "1"},
    {"compute service list -f value", "nova-compute node-1"},
    {"volume service list -f value", "cinder-volume node-1@local"},
    {"versions show -f value", "2.79"},
    {"server delete two --wait", ""},
    {"server show two", "No server with a name or ID of 'two' exists."},
    {"volume delete more boot", ""},
    {"keypair delete given made", ""},
    {"image delete guest", ""},
    {"image show guest", "No Image found for guest"},
    {"flavor delete tiny", ""},
};

TEST_CASE("The unmodified client makes servers, images and volumes", "[openstack]") {
  const bool latest = GENERATE(false, true);
  reprise::testing::TemporaryFolder folder;
  std::string disk(300'000, 'd');
  std::ofstream(folder.path("disk")) << disk;
  std::ofstream(folder.path("data")) << "#!/bin/sh\necho hello\n";
  std::ofstream(folder.path("key.pub"))
      << "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3mF0n0bTn3p9d0m2m0JQy8rW7oI3P4h2gq1mXl6Yk5 me\n";
  ApiRig::Options options;
  options.console = [](ServerId, NodeId, std::size_t, Backend::Console callback) {
    callback(std::string("reprise-guest ready\n"));
  };
  ApiCloud cloud(1, std::move(options));
  auto server = HttpServer::start({.port = 0}, cloud.rig.router);
  REQUIRE(server);
  std::vector<std::string> environment{"OS_VOLUME_API_VERSION=3.42"};
  if (latest) environment.push_back("OS_COMPUTE_API_VERSION=2.79");
  const auto volumes = "/volume/v3/" + cloud.project("admin") + "/volumes";
  run_steps((*server)->port(), until_volume, folder.path(), environment);
  cloud.until(volumes + "/detail?name=data", "volumes.0.status", "available");
  run_steps((*server)->port(), with_volume, folder.path(), environment);
  cloud.until(volumes + "/detail?name=data", "volumes.0.status", "in-use");
  run_steps((*server)->port(), with_volume_in_use, folder.path(), environment);
  CHECK(read_file(folder.path("back")) == disk);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers?all_tenants=1").size("servers") == 0);
  CHECK(cloud.ask("GET", "/image/v2/images").size("images") == 0);
  cloud.until(volumes, "volumes", "[]");
  CHECK(cloud.hosts[0]->servers().servers.empty());
  (*server)->stop(std::chrono::seconds(5));
}

}  // namespace
}  // namespace reprise::api
