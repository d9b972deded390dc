#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bind/errors.h"
#include "bind/register.h"
#include "memory/region_registry.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

std::shared_ptr<RegionRegistry> Make(size_t regions_max) {
  return std::make_shared<RegionRegistry>(RegionRegistry::Options{.regions_max = regions_max});
}

void Register(RegionRegistry& registry, std::string_view name, std::string_view key,
              uint64_t offset, uint64_t byte_size, int64_t client_uid) {
  Status status;
  {
    const py::gil_scoped_release release;
    const bool is_known = client_uid >= 0 && client_uid <= std::numeric_limits<uid_t>::max();
    status = registry.Register(
        name, key, offset, byte_size,
        is_known ? std::optional<uid_t>(static_cast<uid_t>(client_uid)) : std::nullopt);
  }
  Check(status);
}

py::list List(const RegionRegistry& registry) {
  py::list made;
  for (const RegionInfo& region : registry.List()) {
    made.append(py::make_tuple(region.name, region.key, region.offset, region.byte_size));
  }
  return made;
}

py::dict StatsOf(const RegionRegistry& registry) {
  const RegionRegistry::Stats stats = registry.stats();
  py::dict made;
  made["regions"] = stats.regions;
  made["bytes"] = stats.bytes;
  made["retired"] = stats.retired;
  made["poisoned"] = stats.faults;
  return made;
}

}  // namespace

void RegisterRegions(py::module_& module) {
  const RegionRegistry::Options defaults;
  py::class_<RegionRegistry, std::shared_ptr<RegionRegistry>>(module, "RegionRegistry",
                                                              py::is_final())
      .def(py::init(&Make), py::kw_only(), py::arg("regions_max") = defaults.regions_max)
      .def("register", &Register, py::arg("name"), py::arg("key"), py::arg("offset"),
           py::arg("byte_size"), py::arg("client_uid") = -1)
      .def(
          "unregister",
          [](RegionRegistry& registry, std::string_view name) { Check(registry.Unregister(name)); },
          py::arg("name"))
      .def("unregister_all", &RegionRegistry::UnregisterAll)
      .def("regions", &List)
      .def("stats", &StatsOf);
}

}  // namespace fastserve::bind
