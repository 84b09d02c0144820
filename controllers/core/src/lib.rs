//! Reconcile(&View, &Key, now) of every controller.
