// fastserve._core: the one door between Python and the core.
#include <pybind11/pybind11.h>

#include "bind/errors.h"
#include "bind/register.h"

PYBIND11_MODULE(_core, module) {
  using namespace fastserve::bind;
  module.attr("__version__") = FASTSERVE_VERSION;
  RegisterErrors(module);
  RegisterModels(module);
  RegisterServables(module);
  RegisterBuffer(module);
  RegisterRegions(module);
  RegisterChannel(module);
  RegisterGateway(module);
  RegisterConnection(module);
  RegisterCalls(module);
  RegisterClient(module);
  RegisterShm(module);
}
