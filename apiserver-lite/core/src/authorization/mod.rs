//! RBAC and the Node authorizer.
