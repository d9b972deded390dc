// One function per group of types; module.cc calls them in this order.
#pragma once

#include <pybind11/pybind11.h>

namespace fastserve::bind {

void RegisterModels(pybind11::module_& module);     // TensorSpec, Model, open_...
void RegisterServables(pybind11::module_& module);  // Servable, ServingMap
void RegisterRegions(pybind11::module_& module);    // RegionRegistry
void RegisterChannel(pybind11::module_& module);    // ShmListener
void RegisterGateway(pybind11::module_& module);    // ControlRequest, Gateway, heaps
void RegisterBuffer(pybind11::module_& module);     // Bytes that the core owns
void RegisterConnection(pybind11::module_& module);
void RegisterCalls(pybind11::module_& module);   // Caller, Future
void RegisterClient(pybind11::module_& module);  // ClientRequest, HttpSession, GrpcSession
void RegisterShm(pybind11::module_& module);     // ShmSignature, ShmCall, ShmConnection

}  // namespace fastserve::bind
