"""Keys, who may connect over ``tcp://``, and where remote clients' runs are written."""
