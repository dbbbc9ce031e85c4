"""Random problems of the whole domain, each solved at two tolerances: does the promise hold?"""
